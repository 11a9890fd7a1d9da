"""Requests to the controllers (`mesh.api.<noun>.<verb>`): `REQUESTS` lists all, "noun.verb" -> (request, answer).

Any controller serves any request. Each answer comes in a `Reply`. A write's answer holds the `sequence` of the state
stream that it made; a read with `min_sequence` waits until the serving controller's mirror has reached it.
What agents ask (`mesh.agentapi.<node>.<verb>`) is in `memberapi`.
"""

from __future__ import annotations

from schemas.memberapi import MEMBER_REQUESTS
from schemas.netapi import NETWORK_REQUESTS
from schemas.planapi import PLAN_REQUESTS
from schemas.rebalanceapi import REBALANCE_REQUESTS
from schemas.refreshapi import REFRESH_REQUESTS
from schemas.revisionapi import REVISION_REQUESTS
from schemas.serviceapi import SERVICE_REQUESTS
from schemas.stackapi import STACK_REQUESTS
from schemas.statusapi import STATUS_REQUESTS
from schemas.taskapi import TASK_REQUESTS
from schemas.volumeapi import VOLUME_REQUESTS
from schemas.wire import Wire

REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    **STACK_REQUESTS,
    **PLAN_REQUESTS,
    **SERVICE_REQUESTS,
    **REVISION_REQUESTS,
    **REFRESH_REQUESTS,
    **TASK_REQUESTS,
    **MEMBER_REQUESTS,
    **NETWORK_REQUESTS,
    **VOLUME_REQUESTS,
    **REBALANCE_REQUESTS,
    **STATUS_REQUESTS,
}
