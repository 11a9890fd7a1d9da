"""What an agent may say and hear. The server enforces it (`bus.accounts` renders these lists); adapters ask first.

An agent that asks for more gets `Refused` from its own adapter: the server would only stay silent.
"""

from __future__ import annotations

from bus.matching import matches
from schemas import subjects
from schemas.errors import Refused

AGENT = "agent-"
DIRECT_GET = f"$JS.API.DIRECT.GET.{subjects.STATE_STREAM}.{subjects.STATE_PREFIX}"


def node_of(user: str) -> str | None:
    """The node whose agent this user is; None: it is no agent."""
    return user[len(AGENT) :] if user.startswith(AGENT) and len(user) > len(AGENT) else None


def inbox_prefix(user: str) -> str:
    """Where answers to this user come: nobody else may listen there."""
    return f"_INBOX.{user or 'anyone'}"


def agent_publishes(node: str) -> tuple[str, ...]:
    """Patterns of the subjects on which a node's agent may publish (besides answers to requests)."""
    return (
        subjects.heartbeat(node),
        f"mesh.agentapi.{node}.>",
        f"mesh.event.*.*.{node}.*",
        f"{subjects.OBSERVED_PREFIX}{node}",
        f"{DIRECT_GET}{subjects.desired_key(node)}",
        f"{DIRECT_GET}endpoints.>",
        f"{DIRECT_GET}{subjects.ALLOCATION_ALL}",
    )


def agent_subscribes(node: str) -> tuple[str, ...]:
    """Patterns of the subjects to which a node's agent may listen."""
    return (
        f"mesh.node.{node}.>",
        f"{subjects.STATE_REPUBLISHED}{subjects.desired_key(node)}",
        f"{subjects.STATE_REPUBLISHED}endpoints.>",
        f"{subjects.STATE_REPUBLISHED}{subjects.ALLOCATION_ALL}",
        f"{inbox_prefix(AGENT + node)}.>",
    )


def check_publish(user: str, subject: str) -> None:
    """Raises Refused if the user is an agent that may not publish there."""
    node = node_of(user)
    if node is not None and not any(matches(pattern, subject) for pattern in agent_publishes(node)):
        raise Refused(f"{user} may not publish on {subject}")


def check_subscribe(user: str, subject: str) -> None:
    """Raises Refused if the user is an agent that may not listen there."""
    node = node_of(user)
    if node is not None and not any(_covers(pattern, subject) for pattern in agent_subscribes(node)):
        raise Refused(f"{user} may not listen to {subject}")


def check_controller(user: str, what: str) -> None:
    """Raises Refused if the user is an agent: `what` is for controllers and operators."""
    if node_of(user) is not None:
        raise Refused(f"{user} may not {what}")


def check_read(user: str, key: str) -> None:
    """Raises Refused if the user is an agent and this is no key of the state that it may get."""
    check_publish(user, f"{DIRECT_GET}{key}")


def _covers(allowed: str, asked: str) -> bool:
    """Whether every subject that `asked` names is named by `allowed`, too."""
    if allowed == asked:
        return True
    if asked.endswith(">") and not allowed.endswith(">"):
        return False
    return matches(allowed, asked)
