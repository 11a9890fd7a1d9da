"""Resolving the images of services anew."""

from __future__ import annotations

from schemas.requests import Command
from schemas.wire import Count, Token, Wire


class RefreshServices(Command, frozen=True, kw_only=True):
    """service.refresh: ask nodes anew what the images' tags mean. No names: all services, or all of `stack`."""

    services: tuple[str, ...] = ()
    stack: str = ""


class Refreshed(Wire, frozen=True, kw_only=True):
    """What became of one service: moved | same | fixed (named by digest: it never moves) | unknown (`why` says why)."""

    service: Token
    image: str
    change: str
    before: str = ""
    """The image's identity until now."""
    after: str = ""
    revision: Count = 0
    """The one that it is to run."""
    why: str = ""


class RefreshAnswer(Wire, frozen=True, kw_only=True):
    """The answer to service.refresh."""

    sequence: Count
    services: tuple[Refreshed, ...]


REFRESH_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {"service.refresh": (RefreshServices, RefreshAnswer)}
