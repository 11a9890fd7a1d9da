"""What holds whatever happens: random meshes, deploys, failures and returns."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controller.changes import PutAssignment
from controller.plan import plan
from schemas.ports import Port
from schemas.spec import RestartPolicy, ServiceSpec
from tests.unit.controller.model import EVERYTHING, GIB, Mesh, service_spec, turned_round

NODES = ("n1", "n2", "n3", "n4", "n5")
SERVICES = ("a", "b", "c")

specs = st.builds(
    service_spec,
    st.sampled_from(SERVICES),
    image=st.sampled_from(["x:1", "x:2"]),
    mode=st.sampled_from(["replicated", "replicated", "global"]),
    volume=st.sampled_from(["", "", "", "data", "other"]),
    ports=st.sampled_from([(), (), (8080,), (Port(target=80, published=8080, published_last=8081),)]),
    cpus=st.sampled_from([0.0, 1.0, 3.0]),
    memory=st.sampled_from([0, GIB, 20 * GIB]),
    constraints=st.sampled_from([(), (), ("node.labels.zone==eu",), ("node.id!=n1",)]),
    spread=st.sampled_from([(), ("node.labels.zone",)]),
    max_per_node=st.sampled_from([0, 0, 2]),
    restart=st.sampled_from(
        [RestartPolicy(), RestartPolicy(condition="on-failure", delay=0.1), RestartPolicy(max_attempts=1)]
    ),
)

deeds = st.one_of(
    st.tuples(st.just("deploy"), specs, st.integers(0, 7)),
    st.tuples(st.just("scale"), st.sampled_from(SERVICES), st.integers(0, 7)),
    st.tuples(st.just("remove"), st.sampled_from(SERVICES), st.just(0)),
    st.tuples(st.just("pause"), st.sampled_from(SERVICES), st.integers(0, 1)),
    st.tuples(st.just("availability"), st.sampled_from(NODES), st.sampled_from(["active", "pause", "drain"])),
    st.tuples(st.just("label"), st.sampled_from(NODES), st.sampled_from(["eu", "us"])),
    st.tuples(st.just("cut"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("heal"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("kill"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("boot"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("engine"), st.sampled_from(NODES), st.sampled_from(["", "no socket"])),
    st.tuples(st.just("slow"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("fail"), st.sampled_from(NODES), st.sampled_from(["failed", "exited"])),
    st.tuples(st.just("leader"), st.just(""), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 12)),
)


def do(mesh: Mesh, what: str, whom: object, how: object) -> None:
    match what:
        case "deploy":
            assert isinstance(whom, ServiceSpec)
            if whom.name not in mesh.services or mesh.services[whom.name].record.mode == whom.mode:
                mesh.deploy(whom, how)  # type: ignore[arg-type]
        case "scale" | "remove" | "pause" if whom in mesh.services:
            given_ = {"scale": {"replicas": how}, "remove": {"removed": True}, "pause": {"paused": bool(how)}}[what]
            mesh.change_service(str(whom), **given_)
        case "availability":
            mesh.change_node(str(whom), availability=how)
        case "label":
            mesh.change_node(str(whom), labels={"zone": how})
        case "cut":
            mesh.cut(str(whom))
        case "heal":
            mesh.heal(str(whom))
        case "kill":
            mesh.kill(str(whom))
        case "boot" if not mesh.agents[str(whom)].alive:
            mesh.boot(str(whom))
        case "engine":
            mesh.agents[str(whom)].engine = str(how)
        case "slow":
            mesh.agents[str(whom)].slow = bool(how)
        case "fail":
            agent = mesh.agents[str(whom)]
            for task in agent.live[:1] if agent.alive else []:
                agent.tasks[task.id] = msgspec.structs.replace(task, state=how, exit_code=1, ran=1.0)
        case "leader":
            mesh.epoch, mesh.minted, mesh.took_over, mesh.hearing_since = mesh.epoch + 1, 0, mesh.now, mesh.now
            mesh.heard.clear()
        case "wait":
            for _ in range(int(str(how))):
                step(mesh)


def step(mesh: Mesh, seconds: float = 0.4) -> None:
    """One round, checked: pure, in any order, final, and hurting nobody."""
    mesh.now += seconds
    mesh.beat()
    mesh.observe()
    world = mesh.world()
    decided = plan(world, EVERYTHING, mesh.now)
    assert decided == plan(turned_round(world), EVERYTHING, mesh.now)
    check_changes(mesh, [change for change in decided.changes if isinstance(change, PutAssignment)])
    for change in decided.changes:
        mesh.apply(change)
    mesh.minted = decided.minted
    again = plan(mesh.world(), EVERYTHING, mesh.now)
    assert again.changes == (), again.changes
    mesh.work()
    check_slots(mesh)


def check_changes(mesh: Mesh, changes: list[PutAssignment]) -> None:
    for change in changes:
        old = mesh.assignments.get(change.node)
        before = {task.id: task for task in old.record.tasks} if old is not None else {}
        record = mesh.nodes[change.node].record
        heard = mesh.heard.get(change.node)
        assert heard is not None
        assert heard.at >= mesh.took_over
        assert mesh.now - heard.at < 2.4, "the assignment of a silent node was touched"
        for task in change.record.tasks:
            known = before.get(task.id)
            if known is None and "." not in task.id:
                assert record.availability == "active"
                assert heard.engine == "", "a leader knows of an engine what it has heard"
                assert mesh.now - heard.at < 1.2
                assert task.spec in change.record.specs
            if known is not None and known.desired == "shutdown":
                assert task.desired == "shutdown", "an end is final"
        for id_ in before.keys() - {task.id for task in change.record.tasks}:
            observed = {task.id: task for task in mesh.observations[change.node].tasks}
            assert id_ not in observed or observed[id_].ended, "a live task was dropped"


def check_slots(mesh: Mesh) -> None:
    """No slot has two live tasks on nodes that answer, but for one that leaves its node; none has more than it may."""
    live: dict[tuple[str, str], list[str]] = {}
    for name, agent in mesh.agents.items():
        verdict = mesh.liveness.get(name)
        if agent.alive and not agent.cut and not agent.engine and verdict is not None and verdict.verdict == "ready":
            for task in agent.live:
                live.setdefault((task.service, task.slot), []).append(task.id)
    for (service, slot), ids in live.items():
        if len(ids) > 1:
            came_back = [
                task
                for stored in mesh.assignments.values()
                for task in stored.record.tasks
                if (task.service, task.slot) == (service, slot) and task.desired == "shutdown"
            ]
            leaves = any(
                (task.service, task.slot) == (service, slot)
                for name, stored in mesh.assignments.items()
                if mesh.nodes[name].record.availability == "drain"
                for task in stored.record.tasks
            )
            assert came_back or leaves or unsettled(mesh), (service, slot, ids)


def unsettled(mesh: Mesh) -> bool:
    """A leader that has not yet heard everyone decides nothing."""
    return mesh.now - max(mesh.took_over, mesh.hearing_since) < 3


TWO_PORTS = (Port(target=80, published=8080, published_last=8081),)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    [
        ("deploy", service_spec("a", volume="data", ports=TWO_PORTS), 4),
        ("deploy", service_spec("b", mode="global", volume="data"), 0),
    ]
)
@given(st.lists(deeds, min_size=1, max_size=25))
def test_every_round_is_safe_and_the_mesh_comes_to_rest(story: list[tuple[str, object, object]]) -> None:
    mesh = Mesh()
    for number, name in enumerate(NODES):
        mesh.add_node(name, labels={"zone": "eu" if number % 2 else "us"}, cpus=4.0)
    for what, whom, how in story:
        do(mesh, what, whom, how)
        step(mesh)
    for agent in mesh.agents.values():
        agent.slow, agent.engine = False, ""
        mesh.heal(agent.name)
        if not agent.alive:
            mesh.boot(agent.name)
    for _ in range(60):
        step(mesh, 2.0)
    check_at_rest(mesh)


def check_at_rest(mesh: Mesh) -> None:
    for name, stored in mesh.services.items():
        running = mesh.running(name)
        if stored.record.removed:
            assert running == {}
            assert name not in mesh.rollouts
            continue
        rollout = mesh.rollouts[name]
        assert sorted(running) == sorted(mesh.assigned(name)), "what runs is what is assigned"
        assert all(len(nodes) == 1 for nodes in mesh.assigned(name).values())
        if stored.record.mode == "replicated" and not stored.record.paused:
            assert len(running) <= stored.record.replicas
        missing = rollout.wanted - len(running) - rollout.complete
        assert missing == 0 or rollout.reasons, "every open slot has its reason"
