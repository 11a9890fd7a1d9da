"""A free port out of a range: given by the leader on all nodes, or picked by each node's engine, in virtual time."""

from __future__ import annotations

import pytest

from schemas.errors import Conflict
from schemas.ports import Port
from schemas.serviceapi import InspectService, ListServices, PutService, RemoveServices, ScaleServices, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.stackapi import RemoveStack
from tests.sim.loop import run
from tests.sim.network_stage import deploy, published, web
from tests.sim.test_world import slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


POOL = Port(target=80, published=8000, published_last=8001, mode="ingress")
PICKED = Port(target=80, published=8000, published_last=8001)


def of_pool(name: str, *ports: Port, **more: object) -> ServiceDeploy:
    return web(replicas=1, name=name, ports=ports or (POOL,), **more)


async def given(world: World, service: str) -> list[int]:
    view = await world.insist("service.inspect", InspectService(service=service))
    return [port.published for port in view.published]


def owners(world: World) -> dict[int, str]:
    """As the leader has it."""
    leader = world.controllers.get(world.leader())
    ports = leader.mirror.records.publish.ports if leader else ()
    return {port.published: port.service for port in ports}


def test_a_port_of_a_range_stays_with_its_service_over_updates_others_and_leaders() -> None:
    async def story(world: World) -> None:
        both = (of_pool("shop_m"), of_pool("shop_n"))
        await deploy(world, *both)
        await world.until(lambda: published(world) == {8000, 8001}, 30, "both have one")
        assert (await given(world, "shop_m"), await given(world, "shop_n")) == ([8000], [8001])
        with pytest.raises(Conflict, match="no port of 8000-8001/tcp is free: published by shop_m, shop_n"):
            await world.insist("service.put", PutService(service=of_pool("shop_a")))
        world.crash_controller(world.leader())
        await world.until(lambda: world.leader() != "", 30, "another leads")
        wider = Port(target=80, published=7999, published_last=8001, mode="ingress")
        changed = of_pool("shop_n", wider, environment={"N": "2"})
        await deploy(world, of_pool("shop_a", wider), both[0], changed)
        await world.until(lambda: published(world) == {7999, 8000, 8001}, 60, "the third has one, too")
        names = ("shop_a", "shop_m", "shop_n")
        assert [await given(world, name) for name in names] == [[7999], [8000], [8001]]
        await world.insist("stack.remove", RemoveStack(stack="shop"))
        await world.until(lambda: published(world) == set(), 60, "they are free again")

    run(in_world(31, story))


def test_services_of_one_deploy_that_a_range_is_too_small_for_are_told_whose_it_is() -> None:
    async def story(world: World) -> None:
        await deploy(world, *(of_pool(f"shop_{name}") for name in "abc"))
        await world.until(lambda: published(world) == {8000, 8001}, 30, "two have one")
        views = (await world.insist("service.list", ListServices())).services
        said = "no port of 8000-8001/tcp is free: published by shop_a, shop_b"
        assert {view.record.name: view.troubles for view in views} == {"shop_a": (), "shop_b": (), "shop_c": (said,)}
        await world.insist("service.remove", RemoveServices(services=("shop_a",)))
        await world.until(lambda: owners(world) == {8000: "shop_c", 8001: "shop_b"}, 60, "its port is given on")

    run(in_world(32, story))


def test_engines_pick_a_port_each_and_a_node_takes_no_more_tasks_than_its_range_has() -> None:
    async def story(world: World) -> None:
        def bound() -> list[tuple[str, int]]:
            lives = (pair for (name, _), each in world.live().items() if name == "edge" for pair in each)
            return sorted((node, port.published) for node, life in lives for port in life.view.ports)

        everywhere = [(node, port) for node in ("n1", "n2", "n3") for port in (8000, 8001)]
        task = TaskSpec(container=ContainerSpec(image="app:1", ports=(PICKED,)))
        edge = ServiceDeploy(spec=ServiceSpec(name="edge", task=task), replicas=7)
        await world.insist("service.put", PutService(service=edge))
        await world.until(lambda: bound() == everywhere, 60, "all are picked")
        await world.settled()
        (view,) = (await world.insist("service.list", ListServices())).services
        assert view.rollout is not None
        assert {reason.text for reason in view.rollout.reasons} == {"3 nodes: 3 have all ports of 8000-8001/tcp taken"}
        await world.insist("service.scale", ScaleServices(replicas={"edge": 3}))
        await world.until(lambda: world.running("edge") == slots(3), 60, "three stay")
        await world.insist("service.scale", ScaleServices(replicas={"edge": 6}))
        await world.until(lambda: bound() == everywhere, 60, "what is free again is picked again")

    run(in_world(33, story))
