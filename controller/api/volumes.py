"""volume.list."""

from __future__ import annotations

from controller import views
from controller.api.desk import Desk
from schemas.volumeapi import ListVolumes, VolumeList


async def list_all(desk: Desk, request: ListVolumes) -> VolumeList:
    """Named volumes on all nodes."""
    await desk.ready_to_read(request)
    return VolumeList(volumes=tuple(views.volume_views(desk.records, desk.mirror.observations)))
