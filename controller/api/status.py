"""status.get: how the mesh is, from any controller, also while nobody leads or the store is gone."""

from __future__ import annotations

from controller import views
from controller.api.desk import Desk
from schemas.records import Reason
from schemas.statusapi import ControllerView, GetStatus, Status


async def get(desk: Desk, request: GetStatus) -> Status:
    """The status as this controller sees it."""
    if request.min_sequence and not desk.mirror.trouble:
        await desk.ready_to_read(request)
    beats = desk.hearing.controllers()
    leader = desk.elector.leader()
    troubles = {beat.trouble: Reason(text=beat.trouble) for beat in beats if beat.trouble}
    own = desk.leader.frozen
    if own:
        troubles.setdefault(own, Reason(text=own))
    if beats and not leader:
        heard = ", ".join(beat.name for beat in beats)
        text = f"nobody leads, though controllers are heard ({heard}): nothing is decided; each one's log says why"
        troubles.setdefault("", Reason(text=text))
    reasons = (*troubles.values(), *(desk.leader.alarms if desk.elector.leads else ()))
    controllers = tuple(
        ControllerView(
            name=beat.name,
            leads=beat.name == leader,
            hostname=beat.hostname,
            version=beat.version,
            trouble=beat.trouble,
        )
        for beat in beats
    )
    return views.status(
        desk.records,
        desk.mirror.observations,
        views.Heads(
            leader=leader,
            controllers=controllers,
            rounds=desk.leader.rounds if desk.elector.leads else sum(b.rounds for b in beats if b.name == leader),
            version=desk.version,
            reasons=reasons,
        ),
    )
