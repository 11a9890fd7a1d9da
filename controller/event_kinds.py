"""Every kind of event that the leader tells: what it means, and what its `data` may hold (docs/EVENTS.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EventKind:
    """One row of the table."""

    meaning: str
    example: Mapping[str, Any] = field(default_factory=dict)
    """The `data` of one such event."""


_SERVICE = {"replicas": 6, "mode": "replicated", "deploy": 2, "stack": "shop"}
_SCALED = {**_SERVICE, "replicas_before": 3}
_STACK = {"stack": "shop", "services": {"shop_web": 4}}
_NODE = {"availability": "active", "labels": {"zone": "eu"}}
_ROLLOUT = {"wanted": 6, "running": 6, "deploy": 2, "reasons": ["3 nodes: 2 lack memory, 1 drained"]}

DECISION_EVENTS: dict[str, EventKind] = {
    "service.created": EventKind("A service was made; `revision` is its target.", _SERVICE),
    "service.updated": EventKind("Its target was set anew (another spec, or once more after a failure).", _SERVICE),
    "service.scaled": EventKind("Only its number of replicas changed.", _SCALED),
    "service.promoted": EventKind("Its canary's revision goes to all slots.", _SERVICE),
    "service.rolled_back": EventKind("An older revision was made its target.", _SERVICE),
    "service.paused": EventKind("Its rollout was halted.", _SERVICE),
    "service.resumed": EventKind("Its rollout goes on.", _SERVICE),
    "service.removed": EventKind("It is to go: all its tasks are being ended.", _SERVICE),
    "service.gone": EventKind("Nothing of it is left.", _SERVICE),
    "stack.deployed": EventKind("A stack was deployed; `revision` is the stack's.", _STACK),
    "stack.changed": EventKind("One of its services was updated, rolled back or removed by itself.", _STACK),
    "stack.rolled_back": EventKind("An older revision of the whole stack was made its target.", _STACK),
    "stack.done": EventKind("All services of the stack's revision have come up.", {"stack": "shop"}),
    "stack.removed": EventKind("It is to go, with all its services.", {"stack": "shop", "services": {}}),
    "stack.gone": EventKind("Nothing of it is left.", {"stack": "shop", "services": {}}),
    "node.joined": EventKind("An agent has become a member.", _NODE),
    "node.updated": EventKind("Its labels changed.", _NODE),
    "node.draining": EventKind("Its tasks are being moved away.", {**_NODE, "availability": "drain"}),
    "node.drained": EventKind("It is drained and has no task any more.", {}),
    "node.paused": EventKind("It takes no new tasks.", {**_NODE, "availability": "pause"}),
    "node.activated": EventKind("It takes tasks again.", _NODE),
    "node.removed": EventKind("It is no member any more.", {**_NODE, "labels": {}}),
    "node.gone": EventKind("Its record was cleared away.", {**_NODE, "labels": {}}),
    "node.ready": EventKind("The leader hears it, and its engine works."),
    "node.not_ready": EventKind("It is heard, but can't run tasks; `why` says what is wrong."),
    "node.down": EventKind("It was not heard for too long, or its connection ended; `why` says which."),
    "node.confirmed_dead": EventKind("An operator confirmed that nothing of it runs."),
    "task.assigned": EventKind("A slot got a task on this node; `why` says why there.", {"slot": "2"}),
    "task.retired": EventKind("The task is to end; `why` says for what reason.", {"slot": "2"}),
    "task.dropped": EventKind("The assignment no longer names a task that ended, or was lost.", {"slot": "2"}),
    "rollout.started": EventKind("The leader brings about another target.", {**_ROLLOUT, "running": 0}),
    "rollout.done": EventKind("Every slot runs what is wanted.", {**_ROLLOUT, "reasons": []}),
    "rollout.rolling_back": EventKind("A deploy has failed, and its last good revision comes back.", _ROLLOUT),
    "rollout.paused": EventKind("A deploy has failed, and nothing more is replaced; `why` says why.", _ROLLOUT),
    "rollout.canary": EventKind("The canary is up and was watched; promote or abort it.", _ROLLOUT),
    "rollout.rolled_back": EventKind("The last good revision runs again; the deploy has failed.", _ROLLOUT),
    "rollout.failed": EventKind("It was given up; `why` and the reasons say why.", _ROLLOUT),
    "brake.engaged": EventKind("Too many nodes fell silent at once: nothing is replaced.", {"silent": ["n1", "n2"]}),
    "brake.released": EventKind("Silent nodes are replaced again; `cause`: by which order, if any.", {"silent": []}),
    "rebalance.started": EventKind("The leader begins to move tasks; `cause` is the order.", {"moves": 7}),
    "rebalance.done": EventKind("All moves are done or were skipped.", {"moves": 7, "done": 6, "skipped": 1}),
    "leadership.taken": EventKind("A controller leads; `epoch` is its epoch.", {"controller": "c2", "before": "c1"}),
    "leadership.handed_over": EventKind("The leader stopped in good order.", {"controller": "c1", "before": "c1"}),
    "order.given": EventKind("An operator told the leader something.", {"order": "brake.release", "by": "4f2a"}),
    "order.answered": EventKind("The leader has dealt with it.", {"order": "brake.release", "by": "4f2a"}),
    "store.missing": EventKind("The state stream or its `mesh` record is not there; nothing is made in its place."),
    "store.rolled_back": EventKind("The store is older than what was seen: the leader decides nothing on it."),
    "store.foreign": EventKind("The store belongs to another mesh."),
    "store.recovered": EventKind("The store can be trusted again."),
    "store.restored": EventKind("An operator has made the store anew; `why` says from what.", {"generation": 2}),
}
