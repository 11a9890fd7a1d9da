"""Ports that a task publishes, and how people write a range of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from schemas.wire import Wire


class Port(Wire, frozen=True, kw_only=True):
    """A published port. `published` 0: any free one, in host mode of the engine's choice."""

    target: Annotated[int, Meta(ge=1, le=65535)]
    published: Annotated[int, Meta(ge=0, le=65535)] = 0
    published_last: Annotated[int, Meta(ge=0, le=65535)] = 0
    """A free one from `published` to this one; 0: `published` itself."""
    protocol: Literal["tcp", "udp"] = "tcp"
    mode: Literal["host", "ingress"] = "host"
    host_ip: str = ""
    local: bool = False
    """Ingress: only tasks on the node that was asked answer, and they see the client's address."""

    @property
    def choices(self) -> range:
        """The ports of a node that will do; none: any will."""
        return range(self.published, max(self.published, self.published_last) + 1) if self.published else range(0)

    @property
    def span(self) -> str:
        """The choices as people write them: `8080`, `8000-8010`; "" for any."""
        return span(self.choices)


def span(ports: range) -> str:
    """`8080`, `8000-8010`; "" for none."""
    if len(ports) > 1:
        return f"{ports[0]}-{ports[-1]}"
    return str(ports[0]) if ports else ""
