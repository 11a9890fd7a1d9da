"""The records of the state stream `KV_mesh_state`: one writer for every key (DESIGN: the table).

The key of each record is made in `schemas.subjects`. Times `*_at` are seconds since 1970 as the writer's clock had
them: for people. Times that decisions depend on (`since`, `failed_at`, ...) are *stream time*: the leader's `now`,
the last stream time plus its monotonic clock.
"""

from __future__ import annotations

from typing import Any, Literal

from schemas.observation import EndedTask
from schemas.rebalance import Move
from schemas.spec import Mode, ServiceSpec
from schemas.wire import Count, Seconds, Token, Wire

SCHEMA_LEVEL = 1
"""The level of the records that this code writes."""

REVISIONS_KEPT = 10
"""Revisions of a service that are kept (DESIGN)."""


class MeshRecord(Wire, frozen=True, kw_only=True):
    """`mesh`: the store's identity. Written by init / restore only."""

    mesh_id: str
    generation: Count = 1
    schema_level: Count = SCHEMA_LEVEL
    created_at: Seconds = 0.0
    why: str = ""
    """Of a restored store: from what it was made."""


class EpochRecord(Wire, frozen=True, kw_only=True):
    """`election.epoch`: who leads. An empty holder: handed over.

    The sequence of the write that took over is the epoch. The leader's fence is that of the last write: after a write
    of unknown outcome it renews the fence, by writing the same record again with `since`, and the epoch stays.
    """

    mesh_id: str
    holder: str
    nonce: str
    why: str = ""
    """What made it take over, or hand over."""
    since: Count = 0
    """The epoch, where this only renews its fence; 0: this write's own sequence."""

    def number(self, sequence: int) -> int:
        """The epoch, of a record that is stored at this sequence."""
        return self.since or sequence


class ServiceRecord(Wire, frozen=True, kw_only=True):
    """`service.<name>`: what the user wants. `deploy` rises only when the target is set."""

    name: Token
    mode: Mode = "replicated"
    stack: str = ""
    target: Count = 0
    """The revision to run."""
    replicas: Count = 1
    """Of a replicated service; a global one has a slot on every eligible node."""
    deploy: Count = 1
    paused: bool = False
    removed: bool = False
    """The tombstone: all tasks are to be stopped. The key itself is deleted by the api once nothing is left."""
    canary: Count = 0
    """So many slots get the target first; then it waits until it is promoted. 0: all get it."""
    back_from: Count = 0
    """The target was set by going back from this revision: its rollback_config holds."""
    change: str = ""
    """What the last write did: created | updated | rolled_back | scaled | removed | paused | resumed. The event is
    told from it."""
    cause: str = ""
    recent: tuple[str, ...] = ()
    """The ids of the commands before `cause`, newest first, 16 at most: one that comes again is not done again."""
    created_at: Seconds = 0.0
    updated_at: Seconds = 0.0


class RevisionRecord(Wire, frozen=True, kw_only=True):
    """`revision.<service>.<n>`: an immutable spec with its image pinned."""

    number: Count
    spec: ServiceSpec
    created_at: Seconds = 0.0
    cause: str = ""


class StackRecord(Wire, frozen=True, kw_only=True):
    """`stack.<name>`: the services deployed as one."""

    name: Token
    revision: Count = 1
    services: dict[str, Count] = {}
    """Service name -> its revision."""
    removed: bool = False
    change: str = ""
    """What the last write did: deployed | changed | rolled_back | removed."""
    cause: str = ""
    recent: tuple[str, ...] = ()
    """The ids of the commands before `cause`, newest first, 16 at most: one that comes again is not done again."""
    updated_at: Seconds = 0.0


Availability = Literal["active", "pause", "drain"]


class NodeRecord(Wire, frozen=True, kw_only=True):
    """`node.<node>`: a member. `instance` is the agent identity bound at join: another one is refused."""

    name: Token
    instance: str
    availability: Availability = "active"
    force: bool = False
    """Of a drained one: what can't run elsewhere is ended, too."""
    labels: dict[str, str] = {}
    joined_at: Seconds = 0.0
    removed: bool = False
    change: str = ""
    """What the last write did: joined | updated | removed."""
    cause: str = ""
    recent: tuple[str, ...] = ()
    """The ids of the commands before `cause`, newest first, 16 at most: one that comes again is not done again."""


class OrderRecord(Wire, frozen=True, kw_only=True):
    """`order.<id>`: something an operator tells the leader. Answered by the leader's records and an event."""

    id: Token
    kind: Literal["brake.release", "node.confirm-dead", "rebalance"]
    node: str = ""
    at: Seconds = 0.0
    by: str = ""
    moves: tuple[Move, ...] = ()
    """Of a rebalance: what is to be moved. The order stands until all of it is done or skipped."""


class Reason(Wire, frozen=True, kw_only=True):
    """Why something is not (yet) so, with how many slots it holds for."""

    text: str
    count: Count = 1


class SlotHistory(Wire, frozen=True, kw_only=True):
    """What happened in a slot: kept over leader changes, so that back-off and budgets survive."""

    ended: tuple[EndedTask, ...] = ()
    """The last 5, newest first."""
    restarts: Count = 0
    """In a row: sets the back-off."""
    failed_at: tuple[float, ...] = ()
    """Stream times of failures within the last 5 minutes."""
    next_at: float = 0.0
    """Stream time before which no further task is assigned to this slot."""
    restarted_at: tuple[float, ...] = ()
    """Stream times of the restarts that count against `max_attempts`, oldest first."""
    complete: str = ""
    """The spec hash with which the slot did its work and ended, where the restart policy wants no other task."""
    given_up: str = ""
    """The spec hash with which the slot failed for good: the restart policy allows no further attempt."""
    retired: bool = False
    """The slot is not wanted any more; only its history is kept."""


UpdateState = Literal[
    "", "updating", "paused", "completed", "rollback_started", "rollback_paused", "rollback_completed"
]
"""Docker's words. "": not told (a record of before)."""


class Turn(Wire, frozen=True, kw_only=True):
    """A slot that is being replaced, or is watched after it was. Stream times; 0: not yet."""

    up_at: float = 0.0
    """Since when its new task is up."""
    failed_at: float = 0.0
    """When its new task ended by itself."""
    node: str = ""
    """Where its next task goes: the image is there."""


class UpdateProgress(Wire, frozen=True, kw_only=True):
    """How far a deploy has replaced tasks: all that the next step depends on, so that any leader can take it."""

    state: UpdateState = ""
    total: Count = 0
    """Slots that had to be replaced when it began."""
    failed: Count = 0
    """Slots whose new task failed before its time was up."""
    turns: dict[str, Turn] = {}
    best: Count = 0
    """The most slots that were ever up with the wanted spec."""
    moved_at: float = 0.0
    """Stream time of the last step forward; the progress deadline counts from there."""
    halted: bool = False
    """The service is paused by its operator, or waits for a dependency: no time counts."""
    late: bool = False
    """The progress deadline has passed."""
    stands: bool = False
    """The canary is up and was watched: it waits to be promoted or aborted."""
    why: str = ""
    """What made it pause or roll back."""
    left: Count = 0
    """Of a roll-back: the revision that it leaves."""
    culprit: EndedTask | None = None
    """The first task that failed."""
    culprit_slot: str = ""


class RolloutRecord(Wire, frozen=True, kw_only=True):
    """`rollout.<service>`: how far the leader has brought the intent."""

    service: Token
    intent: Count = 0
    """The sequence of the service record that this answers."""
    deploy: Count = 0
    revision: Count = 0
    replicas: Count = 0
    phase: Literal["converging", "done", "failed"] = "converging"
    wanted: Count = 0
    running: Count = 0
    """Slots whose current task is of the wanted spec and running (healthy)."""
    updated: Count = 0
    """Slots whose current task is of the wanted spec."""
    complete: Count = 0
    """Slots that did their work and need no task any more (restart policy `none` or `on-failure`)."""
    since: float = 0.0
    """Stream time at which this phase began."""
    started: float = 0.0
    """Stream time at which this deploy began."""
    reasons: tuple[Reason, ...] = ()
    slots: dict[str, SlotHistory] = {}
    failures: dict[str, tuple[float, ...]] = {}
    """Node -> stream times at which the service failed there of late, oldest first."""
    why: str = ""
    good: Count = 0
    """The last revision that came up as a whole: where a roll-back goes. 0: none yet."""
    update: UpdateProgress = UpdateProgress()
    waiting: dict[str, float] = {}
    """Slot without a task -> stream time since which it has none; the first 1,000."""


class LivenessRecord(Wire, frozen=True, kw_only=True):
    """`liveness.<node>`: the leader's verdict, revocable."""

    node: Token
    verdict: Literal["ready", "not-ready", "down"]
    since: float = 0.0
    why: str = ""
    instance: str = ""
    ended: bool = False
    """Set by `node confirm-dead`: nothing of it runs any more."""
    boot: str = ""
    """Boot id with which it was last heard."""
    observed: Count = 0
    """Counter of the last observation before it was declared down: it is back once a newer one is in."""
    back_since: float = 0.0
    """Stream time at which a node that is down was heard again; 0 while it is silent."""
    order: Count = 0
    """Sequence of the last order about this node that was carried out."""
    uncovered: str = ""
    """Of a node that is down: why it can't be relied on to stop its tasks with `stop_after` by itself; "" if it can."""


class BrakeRecord(Wire, frozen=True, kw_only=True):
    """`brake`: replacements are held back, because too many nodes fell silent at once."""

    engaged: bool = False
    since: float = 0.0
    silent: tuple[str, ...] = ()
    of: Count = 0
    """How many nodes were ready within the minute before."""
    why: str = ""
    released_by: str = ""
    order: Count = 0
    """Sequence of the last order that released it."""


class CursorRecord(Wire, frozen=True, kw_only=True):
    """`events.cursor`: up to which sequence decisions have been told as events."""

    sequence: Count = 0
    extra: dict[str, Any] = {}
