"""A mesh in memory for the tests of deciding: rounds are applied as the stream would show them, agents are pretended.

An agent does at once whatever its assignment says; tests cut it off, kill it, reboot it or have tasks fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from controller.changes import (
    Change,
    DropNode,
    DropRollout,
    Plan,
    PutAssignment,
    PutBrake,
    PutLiveness,
    PutRebalance,
    PutRollout,
)
from controller.intake import tidy_observation
from controller.plan import plan
from controller.world import Dirty, Heard, Stored, World
from schemas.assignment import Applied, Assignment
from schemas.observation import BoundPort, NodeFacts, Observation, ObservedTask
from schemas.ports import Port
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    LivenessRecord,
    NodeRecord,
    OrderRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
)
from schemas.spec import (
    Constraint,
    ContainerSpec,
    Mount,
    Placement,
    Resources,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
)

EVERYTHING = Dirty(everything=True)
GIB = 1024**3
ALWAYS = RestartPolicy()
NOTHING_APPLIED = Applied()
NO_BRAKE = BrakeRecord()


def service_spec(
    name: str = "web",
    *,
    image: str = "web:1",
    mode: str = "replicated",
    volume: str = "",
    external: bool = False,
    ports: tuple[int | Port, ...] = (),
    cpus: float = 0.0,
    memory: int = 0,
    restart: RestartPolicy = ALWAYS,
    constraints: tuple[str, ...] = (),
    spread: tuple[str, ...] = (),
    max_per_node: int = 0,
    affinity: tuple[str, ...] = (),
    avoids: tuple[str, ...] = (),
    platform: str = "",
    stop_grace: float = 10.0,
) -> ServiceSpec:
    """A service; constraints as "key==value" or "key!=value"."""
    mounts = (Mount(kind="volume", target="/data", source=volume, external=external),) if volume else ()
    return ServiceSpec(
        name=name,
        mode=mode,  # type: ignore[arg-type]
        task=TaskSpec(
            container=ContainerSpec(
                image=image,
                stop_grace=stop_grace,
                mounts=mounts,
                platform=platform,
                ports=tuple(port if isinstance(port, Port) else Port(target=80, published=port) for port in ports),
            ),
            reservations=Resources(cpus=cpus, memory=memory),
            restart=restart,
            placement=Placement(
                constraints=tuple(constraint(text) for text in constraints),
                spread=spread,
                max_per_node=max_per_node,
                affinity=affinity,
                anti_affinity=avoids,
            ),
        ),
    )


def constraint(text: str) -> Constraint:
    op = "!=" if "!=" in text else "=="
    key, _, value = text.partition(op)
    return Constraint(key=key, op=op, value=value)  # type: ignore[arg-type]


@dataclass
class Agent:
    """What really runs on one node."""

    name: str
    facts: NodeFacts
    instance: str
    boot: str = "boot-1"
    alive: bool = True
    """The machine runs."""
    cut: bool = False
    """It can't be reached and reaches nobody."""
    engine: str = ""
    tasks: dict[str, ObservedTask] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    ports_taken: tuple[BoundPort, ...] = ()
    counter: int = 0
    applied: Applied = NOTHING_APPLIED
    slow: bool = False
    """New tasks stay `starting`, old ones `stopping`."""
    shown: Observation | None = None
    prepared: dict[str, str] | None = None
    """None: it is of before, and prepares nothing."""
    lacks: dict[str, str] = field(default_factory=dict)
    """Image -> why it can't be had; "": it is still on its way."""

    @property
    def live(self) -> list[ObservedTask]:
        return [task for task in self.tasks.values() if not task.ended]

    def obey(self, stored: Stored[Assignment] | None) -> None:
        if not self.alive or self.engine:
            return
        named = {task.id: task for task in stored.record.tasks} if stored is not None else {}
        for id_, task in list(self.tasks.items()):
            wanted = named.get(id_)
            if not task.ended and (wanted is None or wanted.desired == "shutdown"):
                state = "stopping" if self.slow else "exited"
                self.tasks[id_] = msgspec.structs.replace(task, state=state)
        if stored is None:
            return
        for id_, wanted in named.items():
            if wanted.desired == "shutdown" and id_ not in self.tasks:
                self._show(wanted, "exited")
            elif wanted.desired == "running":
                old = self.tasks.get(id_)
                if old is None or (old.state == "starting" and not self.slow):
                    self._show(wanted, "starting" if self.slow else "running")
                    spec = stored.record.specs[wanted.spec]
                    self.volumes.update(
                        mount.source for mount in spec.container.mounts if mount.kind == "volume" and not mount.external
                    )
        for id_, task in list(self.tasks.items()):
            if task.ended and id_ not in named:
                del self.tasks[id_]
        if self.prepared is not None:
            images = {name: stored.record.specs[name].container.image for name in stored.record.prepare.values()}
            self.prepared = {name: self.lacks.get(image, "") for name, image in images.items() if self._told(image)}
        self.applied = Applied(generation=stored.record.generation, sequence=stored.sequence)

    def _told(self, image: str) -> bool:
        return self.lacks.get(image) != ""

    def _show(self, wanted, state):  # type: ignore[no-untyped-def]
        self.tasks[wanted.id] = ObservedTask(
            id=wanted.id,
            service=wanted.service,
            slot=wanted.slot,
            revision=wanted.revision,
            spec=wanted.spec,
            state=state,
        )

    def observe(self) -> Observation:
        fresh = Observation(
            node=self.name,
            instance=self.instance,
            boot=self.boot,
            counter=self.counter,
            applied=self.applied,
            tasks=tuple(sorted(self.tasks.values(), key=lambda task: task.id)),
            volumes=tuple(sorted(self.volumes)),
            ports_taken=self.ports_taken,
            prepared=self.prepared,
            facts=self.facts,
        )
        if self.shown is None or fresh != msgspec.structs.replace(self.shown, counter=self.counter):
            self.counter += 1
            self.shown = msgspec.structs.replace(fresh, counter=self.counter)
        assert self.shown is not None
        return self.shown


@dataclass
class Mesh:
    """The state stream, the leader's memory, and the machines."""

    now: float = 1000.0
    epoch: int = 7
    minted: int = 0
    sequence: int = 100
    took_over: float = 900.0
    hearing_since: float = 900.0
    unseen_since: float | None = None
    services: dict[str, Stored[ServiceRecord]] = field(default_factory=dict)
    revisions: dict[tuple[str, int], RevisionRecord] = field(default_factory=dict)
    nodes: dict[str, Stored[NodeRecord]] = field(default_factory=dict)
    assignments: dict[str, Stored[Assignment]] = field(default_factory=dict)
    observations: dict[str, Observation] = field(default_factory=dict)
    rollouts: dict[str, RolloutRecord] = field(default_factory=dict)
    liveness: dict[str, LivenessRecord] = field(default_factory=dict)
    orders: dict[str, Stored[OrderRecord]] = field(default_factory=dict)
    brake: BrakeRecord = NO_BRAKE
    rebalance: RebalanceRecord | None = None
    heard: dict[str, Heard] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    tasks_per_node: int = 1000
    surge_allowed: int = 0

    # what people do

    def add_node(self, name: str, *, cpus: float = 8.0, memory: int = 16 * GIB, **kept: object) -> Agent:
        labels = kept.pop("labels", {})
        facts = NodeFacts(
            hostname=name,
            address="10.0.0.1",
            architecture="x86_64",
            cpus=cpus,
            memory=memory,
            **kept,  # type: ignore[arg-type]
        )
        self.agents[name] = Agent(name, facts, f"agent-of-{name}")
        self.put_node(NodeRecord(name=name, instance=f"agent-of-{name}", labels=labels))  # type: ignore[arg-type]
        self.beat()
        self.observe()
        return self.agents[name]

    def put_node(self, record: NodeRecord) -> None:
        self.nodes[record.name] = Stored(record, self._next())

    def change_node(self, name: str, **changes: object) -> None:
        self.put_node(msgspec.structs.replace(self.nodes[name].record, **changes))

    def deploy(self, spec: ServiceSpec, replicas: int = 1, canary: int = 0) -> None:
        """Set the target, as the api would."""
        old = self.services.get(spec.name)
        number = old.record.target + 1 if old is not None else 1
        deploy = old.record.deploy + 1 if old is not None else 1
        self.revisions[spec.name, number] = RevisionRecord(number=number, spec=spec)
        record = ServiceRecord(
            name=spec.name,
            mode=spec.mode,
            target=number,
            replicas=replicas,
            deploy=deploy,
            canary=canary,
            cause=f"command-{number}",
        )
        self.services[spec.name] = Stored(record, self._next())

    def change_service(self, name: str, **changes: object) -> None:
        self.services[name] = Stored(msgspec.structs.replace(self.services[name].record, **changes), self._next())

    def order(self, kind: str, node: str = "") -> None:
        id_ = f"order-{self.sequence}"
        self.orders[id_] = Stored(OrderRecord(id=id_, kind=kind, node=node), self._next())  # type: ignore[arg-type]

    def cut(self, *names: str) -> None:
        """The nodes run on, but reach nobody."""
        for name in names:
            self.agents[name].cut = True

    def heal(self, *names: str) -> None:
        """They are heard again; an agent tells anew what runs."""
        for name in names:
            self.agents[name].cut = False
            self.agents[name].shown = None

    def kill(self, *names: str) -> None:
        """Power off."""
        for name in names:
            self.agents[name].alive = False

    def boot(self, name: str) -> None:
        """Power on: another boot, and nothing runs any more."""
        agent = self.agents[name]
        agent.alive, agent.boot, agent.shown = True, agent.boot + "+", None
        for id_, task in agent.tasks.items():
            if not task.ended:
                agent.tasks[id_] = msgspec.structs.replace(task, state="failed", exit_code=255, ran=100.0)

    # what time does

    def world(self) -> World:
        return World(
            epoch=self.epoch,
            generation=1,
            took_over=self.took_over,
            services=self.services,
            revisions=self.revisions,
            nodes=self.nodes,
            assignments=self.assignments,
            observations=self.observations,
            rollouts=self.rollouts,
            liveness=self.liveness,
            orders=self.orders,
            brake=self.brake,
            rebalance=self.rebalance,
            heard=self.heard,
            hearing_since=self.hearing_since,
            unseen_since=self.unseen_since,
            nodes_total=len(self.nodes),
            minted=self.minted,
            tasks_per_node=self.tasks_per_node,
        )

    def round(self, dirty: Dirty = EVERYTHING) -> Plan:
        decided = plan(self.world(), dirty, self.now)
        for change in decided.changes:
            self.apply(change)
        self.minted = decided.minted
        return decided

    def apply(self, change: Change) -> None:
        match change:
            case PutAssignment():
                self.assignments[change.node] = Stored(change.record, self._next())
            case PutRollout():
                self.rollouts[change.record.service] = change.record
            case DropRollout():
                del self.rollouts[change.service]
            case PutLiveness():
                self.liveness[change.record.node] = change.record
            case DropNode(what="desired"):
                del self.assignments[change.node]
            case DropNode():
                del self.liveness[change.node]
            case PutRebalance():
                self.rebalance = change.record
            case PutBrake():
                self.brake = change.record

    def beat(self) -> None:
        for name, agent in self.agents.items():
            if agent.alive and not agent.cut:
                self.heard[name] = Heard(
                    at=self.now, instance=agent.instance, boot=agent.boot, engine=agent.engine, observed=agent.counter
                )

    def observe(self) -> None:
        for name, agent in self.agents.items():
            if agent.alive and not agent.cut:
                self.observations[name] = tidy_observation(agent.observe())

    def work(self) -> None:
        for name, agent in self.agents.items():
            if not agent.cut:
                agent.obey(self.assignments.get(name))
        self.observe()

    def step(self, seconds: float = 0.1, dirty: Dirty = EVERYTHING) -> Plan:
        """Time passes, a round is planned and committed, the agents do as they are told."""
        self.now += seconds
        self.beat()
        self.observe()
        decided = self.round(dirty)
        self.work()
        return decided

    def settle(self, steps: int = 60, seconds: float = 0.1, dirty: Dirty = EVERYTHING) -> None:
        """Step until a round decides nothing and nobody waits for the clock."""
        for _ in range(steps):
            if not self.step(seconds, dirty).changes:
                return
        raise AssertionError("the mesh does not settle")

    def run(self, seconds: float, every: float = 0.4) -> None:
        for _ in range(round(seconds / every)):
            self.step(every)

    # what can be seen

    def running(self, service: str = "web") -> dict[str, str]:
        """Slot -> node of each task that really runs; fails if a slot has two."""
        found: dict[str, str] = {}
        for agent in self.agents.values():
            for task in agent.live if agent.alive else []:
                if task.service == service:
                    assert task.slot not in found or agent.cut or self.agents[found[task.slot]].cut, task
                    found[task.slot] = agent.name
        return dict(sorted(found.items()))

    def assigned(self, service: str = "web") -> dict[str, list[str]]:
        """Slot -> nodes that are asked to run it."""
        found: dict[str, list[str]] = {}
        for node, stored in sorted(self.assignments.items()):
            for task in stored.record.tasks:
                if task.service == service and task.desired == "running":
                    found.setdefault(task.slot, []).append(node)
        return dict(sorted(found.items()))

    def reasons(self, service: str = "web") -> dict[str, int]:
        return {reason.text: reason.count for reason in self.rollouts[service].reasons}

    def fail(self, node: str, service: str = "web", *, state: str = "failed", **changes: object) -> str:
        """End one task on a node; its id."""
        agent = self.agents[node]
        task = next(task for task in agent.live if task.service == service)
        given = {"state": state, "exit_code": 1 if state == "failed" else 0, "ran": 1.0} | changes
        agent.tasks[task.id] = msgspec.structs.replace(task, **given)
        return task.id

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence


MAPPINGS = ("services", "revisions", "nodes", "assignments", "observations", "rollouts", "liveness", "orders", "heard")


def turned_round(world: World) -> World:
    """The same world with every mapping, and the tasks in each observation, in the opposite order."""
    turned = {name: dict(reversed(list(getattr(world, name).items()))) for name in MAPPINGS}
    turned["observations"] = {
        name: msgspec.structs.replace(seen, tasks=tuple(reversed(seen.tasks)))
        for name, seen in turned["observations"].items()
    }
    return replace(world, **turned)


def three_nodes() -> Mesh:
    mesh = Mesh()
    for name in ("n1", "n2", "n3"):
        mesh.add_node(name)
    mesh.round()
    return mesh
