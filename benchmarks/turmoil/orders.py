"""What operators order while everything fails, and what is wanted after each order. Pure: the seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

LEAST_REPLICAS, MOST_REPLICAS = 2, 5
FIRST_REPLICAS = 3


@dataclass(frozen=True)
class Wanted:
    """What operators want of `web`, and which node they have drained ("": none)."""

    mark: int = 1
    """In the environment of web's tasks: each deploy with a new one is a new revision."""
    replicas: int = FIRST_REPLICAS
    drained: str = ""


@dataclass(frozen=True)
class Order:
    """One thing that operators do: deploy | scale | rollback | drain | activate; then they rest, in seconds."""

    verb: str
    mark: int = 0
    replicas: int = 0
    node: str = ""
    rest: float = 0.0

    def describe(self) -> str:
        """In a few words."""
        return {
            "deploy": f"deploy of mark {self.mark} with {self.replicas} replicas",
            "scale": f"scale to {self.replicas}",
            "rollback": f"rollback to mark {self.mark}",
            "drain": f"drain of {self.node}",
            "activate": "activation of all nodes",
        }[self.verb]


def after(wanted: Wanted, order: Order) -> Wanted:
    """What is wanted once the order is given."""
    return {
        "deploy": replace(wanted, mark=order.mark, replicas=order.replicas),
        "scale": replace(wanted, replicas=order.replicas),
        "rollback": replace(wanted, mark=order.mark),
        "drain": replace(wanted, drained=order.node),
        "activate": replace(wanted, drained=""),
    }[order.verb]


def orders(seed: int, nodes: int = 3) -> Iterator[Order]:
    """The orders of a run, without end. They begin with a stack that is deployed as `Wanted()`."""
    rng = random.Random(f"orders {seed}")
    wanted = Wanted()
    newest = before = wanted.mark
    while True:
        order = Order(_verb(rng, wanted, before), rest=round(rng.uniform(1, 9), 1))
        if order.verb == "deploy":
            newest += 1
            order = replace(order, mark=newest, replicas=_replicas(rng, 0))
        elif order.verb == "scale":
            order = replace(order, replicas=_replicas(rng, wanted.replicas))
        elif order.verb == "rollback":
            order = replace(order, mark=before)
        elif order.verb == "drain":
            order = replace(order, node=f"node-{rng.randint(1, nodes)}")
        mark, wanted = wanted.mark, after(wanted, order)
        before = mark if wanted.mark != mark else before
        yield order


def _verb(rng: random.Random, wanted: Wanted, before: int) -> str:
    if wanted.drained and rng.random() < 0.5:
        return "activate"
    verbs = ["deploy"] * 3 + ["scale"] * 4 + ["rollback"] * (2 if before != wanted.mark else 0)
    return rng.choice(verbs + ([] if wanted.drained else ["drain"] * 2))


def _replicas(rng: random.Random, besides: int) -> int:
    return rng.choice([number for number in range(LEAST_REPLICAS, MOST_REPLICAS + 1) if number != besides])
