"""What a row of the list of keys is tested with: what is written, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.serviceapi import ServiceDeploy
from tests.unit.compose.reading import service_text

S = "services.*."


@dataclass(frozen=True)
class Honoured:
    """The text gives `want`."""

    text: str
    get: Callable[[ServiceDeploy], Any]
    want: Any


@dataclass(frozen=True)
class Warned:
    """The text gives one warning that holds `said`."""

    text: str
    said: str


@dataclass(frozen=True)
class Refused:
    """The text is refused at `line` with `path` and `said`, and the remedy of the row (or `remedy`)."""

    text: str
    line: int
    path: str
    said: str
    remedy: str = ""


def task_of(d: ServiceDeploy) -> Any:
    """Its task."""
    return d.spec.task


def box(name: str) -> Callable[[ServiceDeploy], Any]:
    """A field of its container."""
    return lambda d: getattr(d.spec.task.container, name)


class Cases(dict[str, Honoured | Warned | Refused]):
    """Cases by the path of their row."""

    def honoured(self, paths: str, body: str, get: Callable[[ServiceDeploy], Any], want: Any, top: str = "") -> None:
        """Keys of a service that `get` finds again."""
        for path in paths.split():
            self[S + path] = Honoured(service_text(body, top=top), get, want)

    def container(self, paths: str, body: str, want: Any, field: str = "", top: str = "") -> None:
        """Keys of a service that are a field of its container."""
        self.honoured(paths, body, box(field or paths.split()[0].split(".")[0].split("[")[0]), want, top)

    def refused(
        self, path: str, body: str, at: str, said: str, line: int = 4, top: str = "", image: str = "image: app\n"
    ) -> None:
        """A key of a service that is refused."""
        self[S + path] = Refused(service_text(body, image, top), line, f"services.web{at}", said)
