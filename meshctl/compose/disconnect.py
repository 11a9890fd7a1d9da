"""x-mesh.on_disconnect and on_reconnect: what becomes of tasks on a node that is lost, and when it is back."""

from __future__ import annotations

from meshctl.compose.cursor import At
from meshctl.compose.problems import quote
from meshctl.compose.scalars import chosen, duration, text
from schemas.leases import STOP_AFTER_LEAST
from schemas.spec import OnReconnect


def read_stop_after(service: At) -> float:
    """x-mesh.on_disconnect, in seconds; 0: `keep`."""
    at = service.dig("x-mesh", "on_disconnect")
    if at is None:
        return 0.0
    if not at.is_mapping:
        if text(at) != "keep":
            at.refuse(f"{quote(text(at))} is not known", "write keep, or {stop_after: 30s}")
        return 0.0
    after = at.get("stop_after")
    seconds = duration(after, 0.0)
    if seconds < STOP_AFTER_LEAST:
        (after or at).refuse(
            f"{seconds:g}s is too short", f"write at least {STOP_AFTER_LEAST:g}s: a nats-server may be away for as long"
        )
    return seconds


def check_alone(service: At, stop_after: float) -> None:
    """Tell of update orders that run two tasks of a slot beside each other, where that must not be."""
    for key in ("update_config", "rollback_config") if stop_after else ():
        order = service.dig("deploy", key, "order")
        if order is not None and text(order) == "start-first":
            order.refuse(
                "start-first runs two tasks of a slot beside each other: not with `on_disconnect.stop_after`",
                "write stop-first",
            )


def read_on_reconnect(service: At) -> OnReconnect:
    """x-mesh.on_reconnect."""
    words = ("keep-replacement", "keep-original")
    chose = chosen(service.dig("x-mesh", "on_reconnect"), words, "keep-replacement")
    return "keep-original" if chose == "keep-original" else "keep-replacement"
