"""The nats-server configuration of a mesh, as text: three accounts and what may pass between them. Pure.

CTRL has JetStream, the controllers and operators. AGENTS has one user for each node. From AGENTS to CTRL everything is
a *service*: a stream import would keep the sender's reply subject, and an agent could have an acknowledgement stored as
`election.epoch`. CTRL imports no stream from AGENTS. SYS tells CTRL who has disconnected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bus.permissions import DIRECT_GET, agent_publishes, agent_subscribes
from bus.users import agent_user, controller_user
from schemas import subjects

MAX_PAYLOAD = 4 * 1024 * 1024
"""Bytes (DESIGN: limits)."""

PING_INTERVAL = "1s"
PINGS_MISSED = 2
"""A client that hangs is found out after three pings (DESIGN: liveness)."""

WIDTH = 100
"""Characters beyond which a value of the rendered text takes several lines."""

OPERATOR = "operator"
CONTROL_ACCOUNT = "CTRL"
AGENT_ACCOUNT = "AGENTS"
SYSTEM_ACCOUNT = "SYS"

Value: TypeAlias = "str | int | bool | Sequence[Value] | Mapping[str, Value]"


@dataclass(frozen=True)
class Users:
    """Who may connect, with passwords (plain, or bcrypt as nats-server takes it)."""

    operator: str = field(repr=False)
    controllers: Mapping[str, str] = field(repr=False, default_factory=dict)
    """By the controller's id."""
    agents: Mapping[str, str] = field(repr=False, default_factory=dict)
    """By the node's name."""


@dataclass(frozen=True)
class Cluster:
    """How several servers find each other. `routes`: "host:port" of all of them."""

    name: str
    listen: str
    routes: tuple[str, ...]
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Server:
    """One nats-server."""

    name: str
    listen: str
    """host:port."""
    store_dir: str
    cluster: Cluster | None = None
    monitor: str = ""
    """host:port of its HTTP monitoring; "": none."""
    encryption_key: str = field(default="", repr=False)
    """At rest; "": not encrypted."""
    max_file_store: int = 0
    """Bytes that streams may take on disk; 0: the server's default."""
    extra: Mapping[str, Value] = field(default_factory=dict)
    """Further top-level settings."""


def render_config(server: Server, users: Users) -> str:
    """The text of the configuration file of `server`."""
    settings: dict[str, Value] = {
        "server_name": server.name,
        "listen": server.listen,
        "max_payload": MAX_PAYLOAD,
        "ping_interval": PING_INTERVAL,
        "ping_max": PINGS_MISSED,
        **({"http": server.monitor} if server.monitor else {}),
        "jetstream": _jetstream(server),
        **({"cluster": _cluster(server.cluster)} if server.cluster else {}),
        "system_account": SYSTEM_ACCOUNT,
        "accounts": accounts(users),
        **server.extra,
    }
    return "".join(f"{line}\n" for name, value in settings.items() for line in _lines(name, value))


def accounts(users: Users) -> dict[str, Value]:
    """The three accounts."""
    controllers = [_user(controller_user(name), word) for name, word in sorted(users.controllers.items())]
    return {
        CONTROL_ACCOUNT: {
            "jetstream": "enabled",
            "users": [_user(OPERATOR, users.operator), *controllers],
            "exports": [
                *({"service": subject, "accounts": [AGENT_ACCOUNT]} for subject in AGENT_SERVICES),
                *({"stream": subject, "accounts": [AGENT_ACCOUNT]} for subject in AGENT_STREAMS),
            ],
            "imports": [
                {"service": {"account": AGENT_ACCOUNT, "subject": subjects.NODE_ALL}},
                *({"stream": {"account": SYSTEM_ACCOUNT, "subject": subject}} for subject in DISCONNECTS),
            ],
        },
        AGENT_ACCOUNT: {
            "users": [_agent(node, word) for node, word in sorted(users.agents.items())],
            "exports": [{"service": subjects.NODE_ALL, "response": "stream", "accounts": [CONTROL_ACCOUNT]}],
            "imports": [
                *({"service": {"account": CONTROL_ACCOUNT, "subject": subject}} for subject in AGENT_SERVICES),
                *({"stream": {"account": CONTROL_ACCOUNT, "subject": subject}} for subject in AGENT_STREAMS),
            ],
        },
        SYSTEM_ACCOUNT: {
            "exports": [{"stream": subject, "accounts": [CONTROL_ACCOUNT]} for subject in DISCONNECTS],
        },
    }


AGENT_SERVICES = (
    f"{subjects.OBSERVED_PREFIX}*",
    subjects.EVENT_ALL,
    subjects.HEARTBEAT_ALL,
    "mesh.agentapi.*.>",
    f"{DIRECT_GET}desired.*",
    f"{DIRECT_GET}endpoints.>",
    f"{DIRECT_GET}{subjects.ALLOCATION_ALL}",
)
"""What agents may ask of CTRL."""

AGENT_STREAMS = tuple(
    f"{subjects.STATE_REPUBLISHED}{keys}" for keys in ("desired.*", "endpoints.>", subjects.ALLOCATION_ALL)
)
"""What agents may hear from CTRL: republished entries."""

DISCONNECTS = tuple(f"$SYS.ACCOUNT.{account}.DISCONNECT" for account in (CONTROL_ACCOUNT, AGENT_ACCOUNT))
"""Advisories of SYS."""


def _user(name: str, password: str) -> dict[str, Value]:
    return {"user": name, "password": password}


def _agent(node: str, password: str) -> dict[str, Value]:
    return {
        **_user(agent_user(node), password),
        "permissions": {
            "publish": {"allow": list(agent_publishes(node))},
            "subscribe": {"allow": list(agent_subscribes(node))},
            "allow_responses": {"max": 100, "expires": "2m"},
        },
    }


def _jetstream(server: Server) -> dict[str, Value]:
    return {
        "store_dir": server.store_dir,
        "sync_interval": "always",
        **({"max_file_store": server.max_file_store} if server.max_file_store else {}),
        **({"cipher": "chachapoly", "key": server.encryption_key} if server.encryption_key else {}),
    }


def _cluster(cluster: Cluster) -> dict[str, Value]:
    word = f"route:{cluster.password}@" if cluster.password else ""
    return {
        "name": cluster.name,
        "listen": cluster.listen,
        **({"authorization": _user("route", cluster.password)} if cluster.password else {}),
        "routes": [f"nats://{word}{route}" for route in cluster.routes],
    }


def _lines(name: str, value: Value, indent: str = "") -> list[str]:
    if isinstance(value, Mapping) and value:
        inner = [line for key, each in value.items() for line in _lines(key, each, indent + "  ")]
        if sum(map(len, inner)) < WIDTH and all("{" not in line for line in inner):
            return [f"{indent}{name}: {{ {', '.join(line.strip() for line in inner)} }}"]
        return [f"{indent}{name} {{", *inner, f"{indent}}}"]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        inline = _inline(value)
        if len(inline) < WIDTH:
            return [f"{indent}{name}: {inline}"]
        return [f"{indent}{name}: [", *(line for each in value for line in _item(each, indent + "  ")), f"{indent}]"]
    return [f"{indent}{name}: {_inline(value)}"]


def _item(value: Value, indent: str) -> list[str]:
    inline = _inline(value)
    if not isinstance(value, Mapping) or len(inline) < WIDTH:
        return [f"{indent}{inline}"]
    inner = [line for key, each in value.items() for line in _lines(key, each, indent + "  ")]
    return [f"{indent}{{", *inner, f"{indent}}}"]


def _inline(value: Value) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key}: {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return json.dumps(value)
