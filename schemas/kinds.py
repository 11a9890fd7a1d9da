"""Which record stands under which key of the state stream."""

from __future__ import annotations

from collections.abc import Mapping

from schemas import subjects
from schemas.assignment import Assignment
from schemas.network import AllocationRecord, EndpointsRecord, NetworkRecord, PublishRecord
from schemas.rebalance import RebalanceRecord
from schemas.records import (
    BrakeRecord,
    CursorRecord,
    EpochRecord,
    LivenessRecord,
    MeshRecord,
    NodeRecord,
    OrderRecord,
    RevisionRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.stacks import StackGoodRecord, StackRevisionRecord
from schemas.wire import Wire

KINDS: Mapping[str, type[Wire]] = {
    "service": ServiceRecord,
    "revision": RevisionRecord,
    "stack": StackRecord,
    "stackrev": StackRevisionRecord,
    "stackgood": StackGoodRecord,
    "node": NodeRecord,
    "order": OrderRecord,
    "rollout": RolloutRecord,
    "desired": Assignment,
    "liveness": LivenessRecord,
    "network": NetworkRecord,
    "alloc": AllocationRecord,
    "endpoints": EndpointsRecord,
}
"""First token of a key -> its record. The single keys are in `SINGLE`."""

SINGLE: Mapping[str, type[Wire]] = {
    subjects.MESH: MeshRecord,
    subjects.EPOCH: EpochRecord,
    subjects.BRAKE: BrakeRecord,
    subjects.REBALANCE: RebalanceRecord,
    subjects.EVENTS_CURSOR: CursorRecord,
    subjects.PUBLISH: PublishRecord,
}
"""Keys of which there is one."""


def kind_of(key: str) -> type[Wire] | None:
    """The record that stands under `key`; None: such a key is not known here (a later version's)."""
    return SINGLE.get(key) or KINDS.get(key.partition(".")[0])
