"""How long networks and their rules stay, told in virtual time: through reboots, flushes, rebuilds and their end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.engine.labels import owner_of
from agent.network.removal import remove_networks
from schemas import subjects
from schemas.errors import EngineError, Refused
from schemas.netapi import CreateNetwork, RemoveNetworks
from schemas.network import Attachment, NetworkRecord
from schemas.ports import Port
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.stackapi import DeployStack, RemoveStack
from tests.sim import stores
from tests.sim.loop import run
from tests.sim.network_stage import deploy, level, published, web
from tests.sim.networks import stored, unsettled_networks, up
from tests.sim.store_stage import led_anew
from tests.sim.test_world import slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def test_networks_come_back_after_a_reboot_without_anybody_to_ask() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        for name in sorted(world.controllers):
            world.crash_controller(name)
        world.power_off("n1")
        world.cut("n1")
        world.power_on("n1")
        node = world.nodes["n1"]
        await world.until(lambda: bool(node.machine.tunnels) and bool(node.machine.served), 30, "links and names")
        await world.until(lambda: bool(node.live()), 60, "its task runs again")
        (life,) = node.live()
        assert life.view.addresses["mesh.shop_net"]
        await world.until(
            lambda: life.view.addresses["mesh.shop_net"] in node.machine.table.destinations(), 30, "its own rules"
        )

    run(in_world(11, story))


def test_a_node_that_changes_its_address_is_followed() -> None:
    async def story(world: World) -> None:
        node = world.nodes["n2"]
        world.crash_agent("n2")
        node.address, node.machine.own = "", "192.0.2.2"
        world.start_agent("n2")
        await deploy(world, web(replicas=3))
        await level(world, 3)
        node.machine.own = "198.51.100.2"
        others = [world.nodes[name].machine for name in ("n1", "n3")]
        await world.until(
            lambda: all("198.51.100.2" in tunnel.peers for each in others for tunnel in each.tunnels.values()),
            60,
            "others send to the new address",
        )
        await world.until(
            lambda: {tunnel.local for tunnel in node.machine.tunnels.values()} == {"198.51.100.2"}, 10, "its own end"
        )
        assert not any("192.0.2.2" in tunnel.peers for each in others for tunnel in each.tunnels.values())
        await level(world, 3)

    run(in_world(12, story))


def test_rules_that_somebody_has_flushed_come_back() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        table = world.nodes["n1"].machine.table
        before = table.destinations()
        table.there, table.maps, table.chains = False, {}, set()
        took = await world.until(lambda: table.destinations() == before, 20, "they are back")
        assert took <= 11.0, took

    run(in_world(13, story))


def test_rules_of_a_network_whose_links_could_not_be_made_go_with_it() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not stored(world)[0] and not unsettled_networks(world), 60, "nothing is left")
        world.crash_engine("n3", containers=False)
        await deploy(world, web(replicas=2))
        machine = world.nodes["n3"].machine
        await world.until(lambda: len(machine.table.destinations()) == 2, 60, "n3 sends to both")
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        world.nodes["n3"].engine.recover()
        await world.until(lambda: not stored(world)[0], 60, "it is removed")
        await world.until(lambda: not unsettled_networks(world), 15, "nothing is left")

    run(in_world(15, story))


def test_what_refuses_to_be_cleared_away_is_tried_again() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        machine = world.nodes["n2"].machine
        cleared, refusals = machine.clear, iter(("the lock is held", "the lock is held"))

        async def clear() -> None:
            if (why := next(refusals, "")) != "":
                raise EngineError(why)
            await cleared()

        machine.clear = clear  # type: ignore[method-assign]
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not stored(world)[0], 60, "it is removed")
        await world.until(lambda: not unsettled_networks(world), 30, "nothing is left")
        assert next(refusals, "") == ""

    run(in_world(16, story))


def test_rules_that_somebody_removes_are_loaded_again_at_once() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        machine = world.nodes["n2"].machine
        for _ in range(3):
            machine.flush()
            assert not machine.table.there
            took = await world.until(lambda: not unsettled_networks(world) and machine.table.there, 10, "they are back")
            assert took < 2.5, took

    run(in_world(14, story))


def test_a_store_that_is_rebuilt_without_a_backup_leaves_networks_addresses_and_ports_as_they_are() -> None:
    async def story(world: World) -> None:
        await world.insist("network.create", CreateNetwork(network=NetworkRecord(name="first")))
        await world.until(lambda: set(stored(world)[0]) == {"first"}, 30, "it has the first number")
        await deploy(world, web(replicas=3, ports=(Port(target=80, mode="ingress"),)))
        await level(world, 3)
        await world.insist("network.remove", RemoveNetworks(networks=("first",)))
        await world.until(lambda: set(stored(world)[0]) == {"shop_net"}, 30, "it has the second number")
        allotted, _ = stored(world)
        ports, lives = published(world), up(world, "shop_net", "shop_web")
        tables = {name: node.machine.table.maps for name, node in world.nodes.items()}
        stores.lose_store(world)
        await asyncio.sleep(20)
        await stores.recover(world, None)
        await led_anew(world, 2)
        await asyncio.sleep(20)
        assert stored(world)[0] == allotted
        assert published(world) == ports
        assert up(world, "shop_net", "shop_web") == lives
        assert {name: node.machine.table.maps for name, node in world.nodes.items()} == tables
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 5}))
        await world.until(lambda: world.running("shop_web") == slots(5), 30, "five run")
        await world.until(lambda: not unsettled_networks(world), 30, "all nodes send to all five")
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not stored(world)[0], 60, "its network goes with its stack")

    run(in_world(15, story))


def test_a_network_stays_with_a_task_that_a_store_made_anew_does_not_know_until_people_decide() -> None:
    """Seed 52003524: the task had ended with its machine, and is assigned as long as nobody knows its service."""

    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        world.cut("n2")
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not any(world.nodes[name].live() for name in ("n1", "n3")), 60, "only n2 runs any")
        world.power_off("n2")
        stores.lose_store(world)
        await stores.recover(world, None)
        await world.until(lambda: world.leader() != "", 30, "somebody leads")
        world.plug("n2")
        world.power_on("n2")
        await led_anew(world, 2)
        await asyncio.sleep(30)
        machines = {name: node.machine for name, node in world.nodes.items()}
        assert not world.live()
        assert {name for name, machine in machines.items() if not machine.clean} == {"n2"}
        assert unsettled_networks(world) == ""
        machines["n1"].tunnels = machines["n2"].tunnels
        assert "n1 has something left" in unsettled_networks(world), "n1 has no such task"
        machines["n1"].tunnels = {}
        await deploy(world, web(replicas=3))
        await level(world, 3)
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: all(machine.clean for machine in machines.values()), 60, "nothing is left")

    run(in_world(17, story))


def test_the_record_of_a_network_that_was_removed_goes_an_hour_later_and_its_name_can_be_used_again() -> None:
    async def story(world: World) -> None:
        def names() -> set[str]:
            entries = world.broker.state.existing().entries
            found = ((key.partition("."), entry) for key, entry in entries.items())
            return {name for (noun, _, name), entry in found if noun == "network" and entry.value is not None}

        async def make(name: str) -> None:
            await world.insist("network.create", CreateNetwork(network=NetworkRecord(name=name)))

        await make("old")
        await make("kept")
        await world.insist("network.remove", RemoveNetworks(networks=("old",)))
        await make("next")
        assert names() == {"old", "kept", "next"}
        await asyncio.sleep(3700)
        await make("last")
        assert names() == {"kept", "next", "last"}
        await make("old")
        await world.until(lambda: "old" in stored(world)[0], 30, "it is allotted again")

    run(in_world(17, story))


def test_an_attachable_network_is_on_every_node_without_any_task_of_its_own() -> None:
    async def story(world: World) -> None:
        await world.insist("network.create", CreateNetwork(network=NetworkRecord(name="open", attachable=True)))
        await world.insist("network.create", CreateNetwork(network=NetworkRecord(name="closed")))
        machines = [node.machine for node in world.nodes.values()]
        await world.until(lambda: all(each.tunnels for each in machines), 30, "every node has it")
        device = f"vx-m{stored(world)[0]['open'].vni}"
        assert all(set(each.tunnels) == {device} for each in machines), "the other has no user"
        await world.insist("network.remove", RemoveNetworks(networks=("open", "closed")))
        await world.until(lambda: all(each.clean for each in machines), 30, "nothing is left")

    run(in_world(16, story))


def test_a_machine_that_leaves_gives_up_its_networks_once_nothing_runs_on_them() -> None:
    async def story(world: World) -> None:
        await deploy(world, web(replicas=3))
        await level(world, 3)
        world.crash_agent("n1")
        node = world.nodes["n1"]
        owner = owner_of(next(iter(node.engine.nets.held.values())).labels)
        with pytest.raises(Refused, match="running containers"):
            await remove_networks(node.engine, node.machine, owner)
        assert node.machine.table.there, "what runs is still reached"
        for life in node.live():
            life.end(0)
        assert await remove_networks(node.engine, node.machine, owner) == ("mesh.shop_net",)
        assert node.machine.clean
        assert await remove_networks(node.engine, node.machine, owner) == ()

    run(in_world(13, story))


async def _forget_a_network_of_published_ports(world: World) -> ServiceDeploy:
    """All nodes hold it, nobody could be asked when the store was made anew, and nothing of it runs.

    What runs on is a service on no network, which is returned.
    """
    plain = web(name="shop_plain", replicas=2, ports=())
    container = msgspec.structs.replace(plain.spec.task.container, networks=())
    task = msgspec.structs.replace(plain.spec.task, container=container)
    plain = msgspec.structs.replace(plain, spec=msgspec.structs.replace(plain.spec, task=task))
    await deploy(world, web(replicas=2), plain)
    await level(world, 2)
    await world.insist("service.scale", ScaleServices(replicas={"shop_web": 0}))
    await world.until(lambda: not world.running("shop_web") and not unsettled_networks(world), 60, "none is up")
    for name in world.nodes:
        world.cut(name)
    stores.lose_store(world)
    await stores.recover(world, None)
    await world.until(lambda: world.leader() != "", 30, "somebody leads")
    for name in world.nodes:
        world.plug(name)
    await led_anew(world, 2)
    await world.until(lambda: subjects.desired_key("n1") in world.broker.state.existing().entries, 30, "n1 is told")
    await asyncio.sleep(30)
    assert stored(world) == ({}, {})
    assert all(node.machine.tunnels for node in world.nodes.values())
    return plain


def test_a_network_of_published_ports_stays_where_a_store_made_anew_says_nothing_of_ports_until_people_decide() -> None:
    """Seed 99001474."""

    async def story(world: World) -> None:
        plain = await _forget_a_network_of_published_ports(world)
        machines = {name: node.machine for name, node in world.nodes.items()}
        assert unsettled_networks(world) == ""
        tunnels = machines["n1"].tunnels
        machines["n1"].tunnels = {**tunnels, "vx-m1001": next(iter(tunnels.values()))}
        assert "n1 has something left" in unsettled_networks(world), "no port is published there"
        machines["n1"].tunnels = tunnels
        await deploy(world, web(replicas=2), plain)
        await level(world, 2)
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: all(machine.clean for machine in machines.values()), 60, "nothing is left")

    run(in_world(17, story))


def test_a_network_of_a_lost_store_makes_room_for_one_that_gets_its_number() -> None:
    async def story(world: World) -> None:
        await _forget_a_network_of_published_ports(world)
        other = web(name="other_web", ports=())
        container = msgspec.structs.replace(other.spec.task.container, networks=(Attachment(network="other_net"),))
        task = msgspec.structs.replace(other.spec.task, container=container)
        other = msgspec.structs.replace(other, spec=msgspec.structs.replace(other.spec, stack="other", task=task))
        net = NetworkRecord(name="other_net", stack="other")
        await world.insist("stack.deploy", DeployStack(stack="other", services=(other,), networks=(net,)))
        await world.until(lambda: len(up(world, "other_net", "other_web")) == 3, 30, "all three run")
        assert {record.vni for record in stored(world)[0].values()} == {1000}
        for node in world.nodes.values():
            agent = node.agent
            assert agent is not None
            assert agent.networking.troubles == {}
            assert set(node.engine.nets.held) == {"mesh.other_net"}

    run(in_world(17, story))
