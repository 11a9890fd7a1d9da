"""Which services had come up as a whole before a store was made anew, as far as agents could tell: what fails of them
afterwards is no failed update, and makes none go back.

Where the backup has the same revision as done, its progress says so. Where it wants another one, it is a new deploy to
the leader, and the agents have to tell that no slot is watched any more (`meshctl.rebuilding_progress`).
"""

from __future__ import annotations

from meshctl.recovery import Found
from schemas.records import RevisionRecord
from schemas.task_ids import lineage
from tests.sim.intent import Intent


def came_up(truth: Intent, base: Intent, found: Found) -> frozenset[str]:
    """Their names."""
    return frozenset(name for name in truth.services if _came_up(name, truth, base, found))


def _came_up(name: str, truth: Intent, base: Intent, found: Found) -> bool:
    wanted, before = truth.service(name), base.service(name)
    if wanted is None or before is None or before.removed or wanted.paused or before.paused or not _done(name, truth):
        return False
    if before.target == wanted.target:
        return _done(name, base)
    slots = {slot for service, slot in truth.slots if service == name}
    few = len(slots) < before.replicas if wanted.mode == "replicated" else False
    lacking = {slot for service, slot in base.slots if service == name} - slots if wanted.mode == "global" else ()
    return not (found.silent or few or lacking) and _seen_long_enough(name, truth, base, found)


def _done(name: str, intent: Intent) -> bool:
    rollout = intent.rollout(name)
    return intent.answered(name) and rollout is not None and (rollout.phase, rollout.update.state) == DONE


DONE = ("done", "completed")


def _seen_long_enough(name: str, truth: Intent, base: Intent, found: Found) -> bool:
    """Whether the agents have seen each task up for longer than any policy of the service has it watched."""
    records = (
        each for intent in (truth, base) for key, each in intent.records.items() if key.startswith(f"revision.{name}.")
    )
    specs = [each.spec for each in records if isinstance(each, RevisionRecord)]
    watch = max((max(p.delay, p.monitor) for spec in specs for p in (spec.update, spec.rollback)), default=0.0)
    tasks = {lineage(task.id) for task in truth.tasks if (task.service, task.desired) == (name, "running")}
    seen = {lineage(id_) for view in found.views.values() for id_, up in view.up.items() if up > watch}
    return tasks <= seen
