"""Stories told once, in virtual time, with real controllers and real agents."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.engine.memory_life import Program
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.spec import ContainerSpec, OnReconnect, RestartPolicy, ServiceSpec, TaskSpec
from schemas.stackapi import DeployStack, RemoveStack
from tests.sim.loop import run
from tests.sim.machines import UNMANAGED
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def service(name: str, image: str = "app:1", replicas: int | None = 6, mode: str = "replicated") -> ServiceDeploy:
    task = TaskSpec(container=ContainerSpec(image=image))
    spec = ServiceSpec(name=name, stack="shop", task=task, mode="global" if mode == "global" else "replicated")
    return ServiceDeploy(spec=spec, replicas=replicas if mode == "replicated" else None)


def slots(count: int) -> list[str]:
    return sorted(str(number) for number in range(1, count + 1))


def images(world: World) -> set[str]:
    return {lives[0][1].view.image for (name, _), lives in world.live().items() if name == "shop_web"}


def begun(world: World) -> list[str]:
    """The containers that are made, and do not run yet."""
    lives = [life for node in world.nodes.values() for life in node.engine.lives.values()]
    return [life.view.id for life in lives if life.view.state == "created" and "mesh.task" in life.view.labels]


async def deploy(world: World, *services: ServiceDeploy) -> None:
    await world.insist("stack.deploy", DeployStack(stack="shop", services=services))


def test_a_stack_comes_up_scales_changes_and_goes() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web"), service("shop_edge", mode="global"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        await world.until(lambda: len(world.running("shop_edge")) == 3, 30, "edge runs on each node")
        assert all(len(node.live()) == 3 for node in world.nodes.values())
        await world.insist("service.scale", ScaleServices(replicas={"shop_web": 2}))
        await world.until(lambda: len(world.running("shop_web")) == 2, 30, "two slots run")
        kept, before = world.running("shop_web"), images(world)
        await deploy(world, service("shop_web", "app:2", 2))
        await world.until(lambda: not images(world) & before and world.running("shop_web") == kept, 60, "replaced")
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: not world.live(), 30, "nothing runs")
        assert all(node.engine.life(UNMANAGED).view.alive for node in world.nodes.values())

    run(in_world(1, story))


def test_a_killed_leader_is_replaced_and_nothing_is_doubled() -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.leader() != "", 10, "somebody leads")
        await deploy(world, service("shop_web", replicas=30))
        world.crash_controller(world.leader())
        await world.until(lambda: world.running("shop_web") == slots(30), 30, "thirty slots run")

    run(in_world(2, story))


def test_a_dead_node_is_replaced_and_settles_when_it_returns() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        world.power_off("n2")
        took = await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run elsewhere")
        assert took < 10
        world.power_on("n2")
        await world.until(lambda: world.nodes["n2"].agent_runs, 30, "it is back")
        await deploy(world, service("shop_web", replicas=9))
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine slots run")

    run(in_world(3, story))


@pytest.mark.parametrize("on_reconnect", ["keep-replacement", "keep-original"])
@pytest.mark.parametrize("up", [True, False])
def test_a_node_cut_off_and_healed_ends_with_exactly_the_wanted_set(on_reconnect: OnReconnect, up: bool) -> None:
    """Its containers run on; then the replacements stay where they are up, or the originals where those are wanted."""

    async def story(world: World) -> None:
        def at(name: str) -> set[str]:
            return {life.view.id for life in world.nodes[name].live()}

        def everywhere() -> set[str]:
            return {id_ for name in world.nodes for id_ in at(name)}

        for node in world.nodes.values():
            node.engine.add_image("slow:1", Program(starts_in=20.0))
        wanted = service("shop_web", "slow:1")
        spec = msgspec.structs.replace(wanted.spec, on_reconnect=on_reconnect)
        await deploy(world, msgspec.structs.replace(wanted, spec=spec))
        await world.until(lambda: world.running("shop_web") == slots(6), 60, "six slots run")
        originals, others = at("n1"), at("n2") | at("n3")
        world.cut("n1")
        await world.until(lambda: len(begun(world)) == 2, 30, "replacements start")
        if up:
            await world.until(lambda: len(world.running("shop_web")) == 8, 30, "they run beside the lost ones")
        await asyncio.sleep(2)
        assert at("n1") == originals, "they run on while their node is cut off"
        replacements = everywhere() - originals - others
        world.plug("n1")
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        await asyncio.sleep(30)
        stay = replacements if up and on_reconnect == "keep-replacement" else originals
        assert everywhere() == others | stay

    run(in_world(4, story))


def test_an_agent_that_is_killed_touches_no_container() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        ids = {life.view.id for life in world.nodes["n1"].live()}
        world.crash_agent("n1")
        world.start_agent("n1")
        await world.until(lambda: len(world.running("shop_web")) == 6, 5, "all run")
        assert {life.view.id for life in world.nodes["n1"].live()} == ids

    run(in_world(5, story))


def test_a_machine_with_a_copy_of_an_agents_data_directory_hurts_nothing() -> None:
    async def story(world: World) -> None:
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        original = world.nodes["n1"]
        before = {life.view.id for life in original.live()}
        copy = world.add_copy("n1")
        await asyncio.sleep(60)
        assert "another machine answers as node n1" in copy.membership.refused
        assert {life.view.id for life in original.live()} == before, "the one that was there first is left alone"
        assert world.ready() == {"n1", "n2", "n3"}
        await deploy(world, service("shop_web", replicas=9))
        await world.until(lambda: world.running("shop_web") == slots(9), 30, "nine slots run")

    run(in_world(14, story))


def test_a_service_that_prints_garbage_and_crashes_for_ever_keeps_nobody_from_being_served() -> None:
    """Its history, ten lines of control characters for each end, would be more than a record may hold."""

    async def story(world: World) -> None:
        noise = Program(starts_in=0.1, runs_for=0.5, exit_code=1, lines=("\x01" * 256,) * 10)
        for node in world.nodes.values():
            node.engine.add_image("noise:1", noise)
        policy = RestartPolicy(condition="any", max_delay=5.0)
        task = TaskSpec(container=ContainerSpec(image="noise:1"), restart=policy)
        spec = ServiceSpec(name="shop_noise", stack="shop", task=task)
        await deploy(world, ServiceDeploy(spec=spec, replicas=60))
        await asyncio.sleep(30)
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 10, "six slots run")

    run(in_world(13, story))
