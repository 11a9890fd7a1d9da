"""Requests about named volumes and their answers."""

from __future__ import annotations

from schemas.requests import Ask
from schemas.wire import Token, Wire


class ListVolumes(Ask, frozen=True, kw_only=True):
    """volume.list."""


class VolumeView(Wire, frozen=True, kw_only=True):
    """A named volume on one node, and the services whose specs name it."""

    name: str
    node: Token
    services: tuple[str, ...] = ()
    node_status: str = ""


class VolumeList(Wire, frozen=True, kw_only=True):
    """The answer to volume.list."""

    volumes: tuple[VolumeView, ...]


VOLUME_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "volume.list": (ListVolumes, VolumeList),
}
