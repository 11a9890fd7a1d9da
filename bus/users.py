"""Who connects to the bus, and with what: user names and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """How to connect: server URLs, user and password, as kept in a credentials file."""

    servers: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    name: str = ""


def agent_user(node: str) -> str:
    """The user name with which a node's agent connects (told by disconnect advisories)."""
    return f"agent-{node}"


def controller_user(controller: str) -> str:
    """The user name with which a controller connects (told by disconnect advisories)."""
    return f"controller-{controller}"
