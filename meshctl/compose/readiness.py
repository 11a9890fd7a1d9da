"""`x-mesh.ready`: the check by which the agent sees whether a task is ready."""

from __future__ import annotations

from meshctl.compose.cursor import At
from meshctl.compose.problems import quote
from meshctl.compose.scalars import duration, text, whole
from meshctl.flags.targets import http_target, tcp_target
from schemas.spec import ReadyCheck


def read_ready(service: At) -> ReadyCheck | None:
    """The check; None if there is none."""
    at = service.dig("x-mesh", "ready")
    if at is None or not at.is_mapping:
        return None
    http, tcp = at.get("http"), at.get("tcp")
    if (http is None) == (tcp is None):
        at.refuse("a check is either `http` or `tcp`", 'write http: ":8080/health", or tcp: 8080')
        return None
    asked = http or tcp
    assert asked is not None, "one of the two is there"
    port = tcp_target(text(asked))
    target = http_target(text(asked)) if http is not None else port and (port, "/")
    if not target:
        asked.refuse(f"{quote(text(asked))} is no port of the container", 'write ":8080/health" for http, 8080 for tcp')
        return None
    if service.get("network_mode") is not None and text(service.get("network_mode")) == "none":
        at.refuse("a task without a network can't be asked", "remove `network_mode: none`")
    default = ReadyCheck(port=1)
    return ReadyCheck(
        kind="http" if http is not None else "tcp",
        port=target[0],
        path=target[1],
        interval=duration(at.get("interval"), default.interval) or default.interval,
        timeout=duration(at.get("timeout"), default.timeout) or default.timeout,
        retries=whole(at.get("retries"), default.retries, least=1, most=1_000_000),
    )
