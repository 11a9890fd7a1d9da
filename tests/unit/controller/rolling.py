"""Updates played through on the model: images that fail, what is up at each moment, rounds cut off half-way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from controller.committing import writes_of
from controller.plan import plan
from schemas.records import RolloutRecord
from schemas.spec import ServiceSpec, UpdatePolicy
from tests.unit.controller.model import EVERYTHING, Mesh, service_spec, three_nodes


def web(image: str, *, update: UpdatePolicy | None = None, deadline: float = 600.0, **more: Any) -> ServiceSpec:
    """The service under test; going back happens as going forth, but never rolls back itself."""
    policy = update or UpdatePolicy()
    action = "pause" if policy.failure_action == "rollback" else policy.failure_action
    back = msgspec.structs.replace(policy, failure_action=action)
    spec = service_spec(image=image, **more)
    return msgspec.structs.replace(spec, update=policy, rollback=back, progress_deadline=deadline)


@dataclass
class Stage:
    """A mesh, and the images whose tasks fail right after they have started."""

    mesh: Mesh = field(default_factory=three_nodes)
    bad: frozenset[str] = frozenset({"web:bad"})
    fewest: int = 1000
    most: int = 0
    """Live tasks of the service at one time."""
    seen: list[str] = field(default_factory=list)
    """The states that the update went through."""

    @property
    def rollout(self) -> RolloutRecord:
        return self.mesh.rollouts["web"]

    def live(self) -> list[str]:
        """The image of each live task."""
        return [image for _, image in self.tasks()]

    def up(self) -> list[str]:
        """The image of each task that is up."""
        return [
            self._image(task.spec)
            for agent in self.mesh.agents.values()
            for task in (agent.live if agent.alive else [])
            if task.service == "web" and task.up
        ]

    def tasks(self) -> list[tuple[str, str]]:
        return [
            (task.slot, self._image(task.spec))
            for agent in self.mesh.agents.values()
            for task in (agent.live if agent.alive else [])
            if task.service == "web"
        ]

    def deploy(self, spec: ServiceSpec, replicas: int, canary: int = 0) -> None:
        self.mesh.deploy(spec, replicas, canary)
        self.fewest, self.most, self.seen = 1000, 0, []

    def step(self, seconds: float = 0.2, *, cut: int | None = None) -> None:
        """One round; `cut`: only so many of its writes are stored, and another leader takes over."""
        mesh = self.mesh
        mesh.now += seconds
        mesh.beat()
        mesh.observe()
        decided = plan(mesh.world(), EVERYTHING, mesh.now)
        assert decided.wake_at is None or decided.wake_at > mesh.now, "a wake in the past would spin"
        keys = [write.key for write in writes_of(decided.changes, mesh.assignments)]
        changes = sorted(decided.changes, key=lambda change: keys.index(change.key))
        for change in changes if cut is None else changes[:cut]:
            mesh.apply(change)
        mesh.minted = decided.minted
        if cut is not None and cut < len(changes):
            mesh.epoch, mesh.minted = mesh.epoch + 1, 0
        mesh.work()
        self.note()
        self.fail_bad()

    def note(self) -> None:
        if "web" in self.mesh.rollouts:
            self.fewest, self.most = min(self.fewest, len(self.up())), max(self.most, len(self.live()))
            state = self.rollout.update.state
            if self.seen[-1:] != [state]:
                self.seen.append(state)

    def fail_bad(self) -> None:
        """Tasks of bad images end."""
        for agent in self.mesh.agents.values():
            for id_, task in agent.tasks.items():
                if not task.ended and self._image(task.spec) in self.bad:
                    agent.tasks[id_] = msgspec.structs.replace(
                        task, state="failed", exit_code=1, ran=0.1, error="exit code 1", log_tail=("boom",)
                    )

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.2)):
            self.step()

    def until(self, holds: Callable[[], bool], seconds: float = 300.0) -> float:
        """Step until it holds; the seconds that took."""
        started = self.mesh.now
        while not holds():
            assert self.mesh.now - started < seconds, (self.rollout, self.live())
            self.step()
        return self.mesh.now - started

    def _image(self, spec: str) -> str:
        for revision in self.mesh.revisions.values():
            if revision.spec.task.hash == spec:
                return revision.spec.task.container.image
        raise AssertionError(spec)


def standing(replicas: int = 6, update: UpdatePolicy | None = None, **more: Any) -> Stage:
    """web:1 stands."""
    stage = Stage()
    stage.deploy(web("web:1", update=update, **more), replicas)
    stage.until(lambda: "web" in stage.mesh.rollouts and stage.rollout.phase == "done")
    assert stage.rollout.good == 1
    return stage
