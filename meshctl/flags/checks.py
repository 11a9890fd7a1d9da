"""Flags that say how a task's health and readiness are looked at, onto a spec. Pure; raises UsageError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from meshctl.flags.targets import http_target, tcp_target
from meshctl.flags.values import parse_count
from meshctl.format.times import parse_duration
from schemas.errors import UsageError
from schemas.spec import HealthCheck, ReadyCheck

Given = Mapping[str, Any]


def changed_health(old: HealthCheck | None, given: Given) -> HealthCheck | None:
    """The health check with what `--health-*` say."""
    if given.get("no_healthcheck"):
        return HealthCheck(test=("NONE",))
    changes = _durations(given, "health", ("interval", "timeout", "start_period", "start_interval"))
    if given.get("health_retries") is not None:
        changes["retries"] = parse_count(given["health_retries"], "--health-retries")
    if given.get("health_cmd"):
        changes["test"] = ("CMD-SHELL", given["health_cmd"])
    if not changes:
        return old
    if old is None and "test" not in changes:
        raise UsageError("there is no health check to change", hint="add --health-cmd COMMAND")
    return HealthCheck(**changes) if old is None else replace(old, **changes)


def changed_ready(old: ReadyCheck | None, given: Given) -> ReadyCheck | None:
    """The readiness check with what `--ready-*` say."""
    http, tcp = given.get("ready_http"), given.get("ready_tcp")
    changes = _durations(given, "ready", ("interval", "timeout"))
    if given.get("ready_retries") is not None:
        changes["retries"] = parse_count(given["ready_retries"], "--ready-retries")
    for name, value in changes.items():
        if not value:
            raise UsageError(f"--ready-{name} can't be 0", hint="leave it out for the default")
    if given.get("no_ready"):
        if http or tcp or changes:
            raise UsageError("--no-ready and another --ready-... can't both be", hint="leave one of them out")
        return None
    if http and tcp:
        raise UsageError("--ready-http and --ready-tcp can't both be", hint="a task has one check: leave one out")
    if http or tcp:
        changes |= _asked(http, tcp)
    if not changes:
        return old
    if old is None and "port" not in changes:
        raise UsageError(
            "there is no readiness check to change", hint="add --ready-http :8080/health or --ready-tcp 8080"
        )
    return ReadyCheck(**changes) if old is None else replace(old, **changes)


def _asked(http: str | None, tcp: str | None) -> dict[str, Any]:
    if http:
        target = http_target(http)
        if target is None:
            raise UsageError(f"--ready-http: '{http}' is no port and path", hint="write :8080/health")
        return {"kind": "http", "port": target[0], "path": target[1]}
    port = tcp_target(tcp or "")
    if port is None:
        raise UsageError(f"--ready-tcp: '{tcp}' is no port", hint="a number from 1 to 65535")
    return {"kind": "tcp", "port": port, "path": "/"}


def _durations(given: Given, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    flags = {name: f"--{what}-{name.replace('_', '-')}" for name in names}
    wanted = {name: given.get(f"{what}_{name}") for name in names}
    return {name: parse_duration(text, flags[name]) for name, text in wanted.items() if text is not None}
