"""What readers of a service need to know besides the service: its stack, the shell, files and declared volumes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.networks import Network
from meshctl.compose.problems import quote
from meshctl.compose.scalars import pairs, text, truth
from schemas.placeholders import expand, unknown_placeholders

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9{][a-zA-Z0-9_.{} -]*")


class Files(Protocol):
    """What reads files: the disk, or a test."""

    def read(self, path: str) -> str | None:
        """The text of a file; None if there is none. Raises ManifestError if it can't be read."""
        ...


@dataclass(frozen=True, slots=True)
class Volume:
    """A declared volume."""

    name: str
    """On the engine."""
    external: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What surrounds a service."""

    stack: str
    directory: str
    """Absolute; relative paths begin here."""
    variables: Mapping[str, str]
    """The shell's, and below it those of `.env`."""
    files: Files
    volumes: Mapping[str, Volume]
    networks: Mapping[str, Network] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """The services of the files."""
    enabled: frozenset[str] = frozenset()
    """Those that no profile leaves out."""
    awaited: frozenset[str] = frozenset()
    """Those that others wait for to complete."""

    def path(self, at: At, path: str) -> str:
        """An absolute path from one relative to the project or to the home."""
        if path.startswith("~"):
            home = self.variables.get("HOME", "")
            if not home or path[1:2] not in ("", "/"):
                at.refuse(f"no home is known for {quote(path)}", "write the whole path")
                return "/"
            path = home + path[1:]
        return posixpath.normpath(posixpath.join(self.directory, path))


def read_volumes(document: At, stack: str) -> dict[str, Volume]:
    """The top-level `volumes` by their names in the file."""
    top = document.get("volumes")
    return {name: _volume(name, at, stack) for name, at in top.entries()} if top else {}


def check_placeholders(at: At, value: str) -> str:
    """`value`, after telling of placeholders in it that nobody fills in."""
    for name in unknown_placeholders(value):
        known = "{{.Service.Name}}, {{.Node.Hostname}}, {{.Task.Slot}}, {{.Task.Name}}, {{.Node.ID}} ..."
        at.refuse("the placeholder {{" + name[:60] + "}} is not known", f"use {known}")
    return value


def has_placeholders(value: str) -> bool:
    """Whether `value` holds a placeholder that would be filled in."""
    return "{{" in value and expand(value, {}) != value


def _volume(name: str, at: At, stack: str) -> Volume:
    external, alias = _external(at.get("external"))
    given = at.get("name")
    engine_name = text(given) or alias or (name if external else f"{stack}_{name}")
    if not _VOLUME_NAME.fullmatch(expand(engine_name, {}) or "x") or len(engine_name) > 255:
        (given or at).refuse(f"{quote(engine_name)} can't be a volume's name", "use letters, digits, `_`, `.` and `-`")
    check_placeholders(given or at, engine_name)
    if external:
        for key in ("driver", "driver_opts", "labels"):
            if (extra := at.get(key)) is not None:
                extra.refuse("the volume is external", remedy("volumes.*.driver_opts (of an external volume)"))
    opts, labels = pairs(at.get("driver_opts")), pairs(at.get("labels"))
    return Volume(engine_name, external, text(at.get("driver")), opts, labels)


def _external(at: At | None) -> tuple[bool, str]:
    """Whether it is external, and its name in the old spelling `external: {name: x}`."""
    if at is not None and at.is_mapping:
        return True, text(at.get("name"))
    return truth(at), ""
