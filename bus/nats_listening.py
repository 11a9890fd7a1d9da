"""What a connection keeps for its users: who listens to what, whichever client there is, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsPySubscription


@dataclass
class Answer:
    """What came back."""

    headers: Mapping[str, str]
    data: bytes


Handler = Callable[[Msg], None]


@dataclass(eq=False)
class Listener:
    """A subscription that outlives its client."""

    subject: str
    handler: Handler
    queue: str = ""
    current: NatsPySubscription | None = field(default=None, repr=False)

    def deliver(self, message: Msg) -> None:
        """Hand a message to whoever handles them now."""
        self.handler(message)
