"""The one list of Compose's keys: what becomes of each, and why. docs/COMPOSE.md and the tests are made from it.

A path is written with `*` for any name and `[]` for a list's items. A row whose path goes on with `=` or ` (` is about
one value or spelling of the key before it; it is told by the reader of that key, not by the walk over the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache

from meshctl.compose.keys_deploy import DEPLOY
from meshctl.compose.keys_refused import REFUSED
from meshctl.compose.keys_service import SERVICE


class Outcome(Enum):
    """What becomes of a key. There is no fourth."""

    HONOURED = "honoured"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Key:
    """One row: `note` tells how it is honoured, why it has no effect, or what to do instead."""

    path: str
    outcome: Outcome
    note: str

    @property
    def is_value(self) -> bool:
        """Whether the row is about one value or spelling of a key."""
        return "=" in self.path or " (" in self.path


_TOP = {
    "services": "at least one; each becomes the service `<stack>_<name>`",
    "services.*": "the name is lower-case letters, digits, `-` and `_`, together with the stack's at most 63",
    "name": "the stack's name, unless the command line gives one",
    "networks": "networks between the nodes; a service without `networks` is on `default` where the file has any",
    "networks.*": "in the mesh it is called `<stack>_<name>`, unless `name` or `external` says otherwise",
    "networks.*.attachable": "a truth value",
    "networks.*.driver": "`overlay` or `bridge`: both mean a network between the nodes",
    "networks.*.driver_opts": '`encrypted: "false"` only',
    "networks.*.driver_opts.*": "text",
    "networks.*.external": "`true`: somebody else makes it (`meshctl network create`)",
    "networks.*.internal": "`true`: no way out",
    "networks.*.ipam": "its addresses; chosen if not given",
    "networks.*.ipam.config": "one entry",
    "networks.*.ipam.config[]": "of one subnet",
    "networks.*.ipam.config[].subnet": "as 10.20.0.0/16; each node gets a /24 of it, its last eighth is for services",
    "networks.*.labels": "a mapping or a list of `name=value`",
    "networks.*.name": "its name in the mesh",
    "volumes": "what named volumes are like",
    "volumes.*": "on the engine it is called `<stack>_<name>`, unless `name` or `external` says otherwise",
    "volumes.*.driver": "the volume's driver",
    "volumes.*.driver_opts": "its options",
    "volumes.*.driver_opts.*": "text or a number",
    "volumes.*.external": "`true`: somebody else makes it; only nodes that have it are used",
    "volumes.*.labels": "a mapping or a list of `name=value`",
    "volumes.*.name": "its name on the engine; may hold placeholders (`data-{{.Task.Slot}}`)",
}

_NO_EFFECT = {
    "version": "Compose has no versions any more; the file is read the same way without it",
    "services.*.build": "beside `image`: nothing is built here; `image` is what runs",
    "services.*.container_name": "a container is called `<stack>_<service>.<slot>.<task>`: there can be several",
    "services.*.expose": "containers on one network reach each other's ports without it",
}

KEYS: tuple[Key, ...] = (
    *(Key(path, Outcome.HONOURED, note) for path, note in (_TOP | SERVICE | DEPLOY).items()),
    *(Key(path, Outcome.NO_EFFECT, note) for path, note in _NO_EFFECT.items()),
    *(Key(path, Outcome.REFUSED, note) for path, note in REFUSED.items()),
)


@cache
def row(path: str) -> Key | None:
    """The row of a path as it is written in the registry."""
    return _rows().get(path)


def remedy(path: str) -> str:
    """What to do instead of the refused `path`. Raises KeyError for a path that has no row."""
    return _rows()[path].note


@cache
def children(path: str) -> tuple[str, ...]:
    """The names of keys that may stand under `path`; ("*",) for any, ("[]",) for a list."""
    prefix = f"{path}." if path else ""
    found = (key.path for key in KEYS if not key.is_value)
    if any(other.startswith(f"{path}[]") for other in found):
        return ("[]",)
    names = (
        other.removeprefix(prefix) for other in _rows() if other.startswith(prefix) and not _rows()[other].is_value
    )
    return tuple(dict.fromkeys(name.split(".")[0].split("[")[0] for name in names))


@cache
def _rows() -> dict[str, Key]:
    return {key.path: key for key in KEYS}
