"""`deploy` of a service: mode, replicas, resources, restarts, placement, updates; with the older keys for the same."""

from __future__ import annotations

import ipaddress
import re

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.scalars import chosen, decimal, duration, size, text, whole
from meshctl.compose.tree import is_null
from schemas.spec import Constraint, Mode, Placement, Resources, RestartPolicy, UpdatePolicy

REPLICAS_LIMIT = 20_000
"""The most replicas that a file may ask for."""

LEAST_MEMORY = 6 * 1024 * 1024
"""The engine refuses a lower limit."""

LEAST_CPUS = 0.001

_D = "services.*.deploy"
_KEYS = ("node.id", "node.hostname", "node.role", "node.ip", "node.platform.os", "node.platform.arch")
_LABEL_KEYS = re.compile(r"(?:node|engine)\.labels\.[A-Za-z0-9_][A-Za-z0-9_./-]*", re.IGNORECASE)
_CONSTRAINT = re.compile(r"\s*([^\s=!]+)\s*(==|!=)\s*(.*?)\s*", re.DOTALL)
_CONSTRAINT_HOW = "write it as `node.labels.zone == eu`"
_RESTARTS = {"no": "none", "on-failure": "on-failure", "always": "any", "unless-stopped": "any"}


def read_mode(deploy: At | None) -> Mode:
    """replicated or global."""
    at = deploy.get("mode") if deploy else None
    mode = text(at, "replicated")
    if mode in ("replicated-job", "global-job") and at is not None:
        at.refuse(f"the mode {mode} is not supported", remedy(f"{_D}.mode={mode}"))
    else:
        chosen(at, ("replicated", "global"), "replicated")
    return "global" if mode == "global" else "replicated"


def read_replicas(deploy: At | None, mode: Mode) -> int | None:
    """The wanted replicas; None: as it is."""
    at = deploy.get("replicas") if deploy else None
    if at is None:
        return None
    if mode == "global":
        at.refuse("a global service has no replicas: it runs once on each node", "remove it, or the mode")
        return None
    return whole(at, 1, most=REPLICAS_LIMIT)


def read_limits(service: At) -> Resources:
    """deploy.resources.limits, with mem_limit and cpus of the service."""
    limits = service.dig("deploy", "resources", "limits")
    cpus, memory = (
        _cpus(limits.get("cpus") if limits else None),
        size(limits.get("memory") if limits else None, least=LEAST_MEMORY),
    )
    old_cpus = service.get("cpus")
    if old_cpus is not None:
        value = _cpus(old_cpus)
        _agree(old_cpus, bool(cpus) and cpus != value, "deploy.resources.limits.cpus")
        cpus = value
    old_memory = service.get("mem_limit")
    if old_memory is not None:
        amount = size(old_memory, least=0 if text(old_memory) == "0" else LEAST_MEMORY)
        _agree(old_memory, bool(memory) and memory != amount, "deploy.resources.limits.memory")
        memory = amount
    return Resources(cpus=cpus, memory=memory, pids=whole(limits.get("pids") if limits else None, most=2**31))


def read_reservations(service: At, limits: Resources) -> Resources:
    """deploy.resources.reservations, never above the limits."""
    at = service.dig("deploy", "resources", "reservations")
    if at is None:
        return Resources()
    cpus, memory = _cpus(at.get("cpus")), size(at.get("memory"))
    if limits.cpus and cpus > limits.cpus:
        (at.get("cpus") or at).refuse(f"{cpus:g} CPUs reserved, above the limit of {limits.cpus:g}", "lower it")
    if limits.memory and memory > limits.memory:
        what = f"{memory} bytes reserved, above the limit of {limits.memory}"
        (at.get("memory") or at).refuse(what, "lower it")
    return Resources(cpus=cpus, memory=memory)


def read_restart(service: At) -> RestartPolicy:
    """deploy.restart_policy, or `restart`; x-mesh.restart tells how it backs off."""
    old, policy, ours = (
        service.get("restart"),
        service.dig("deploy", "restart_policy"),
        service.dig("x-mesh", "restart"),
    )
    simple = _simple_restart(old)
    if policy is None:
        base = simple
    else:
        if old is not None:
            old.warn("`restart` has no effect beside `deploy.restart_policy`", "remove one of the two")
        condition = chosen(policy.get("condition"), ("none", "on-failure", "any"), "any")
        base = RestartPolicy(
            condition="none" if condition == "none" else "on-failure" if condition == "on-failure" else "any",
            delay=duration(policy.get("delay"), simple.delay),
            max_attempts=whole(policy.get("max_attempts"), most=10**9),
            window=duration(policy.get("window"), 0.0),
        )
    longest = duration(ours.get("max_delay") if ours else None, max(base.max_delay, base.delay))
    if longest < base.delay and ours is not None:
        (ours.get("max_delay") or ours).refuse(f"{longest:g}s is below the first delay of {base.delay:g}s", "raise it")
    return RestartPolicy(
        condition=base.condition,
        delay=base.delay,
        max_delay=longest,
        max_attempts=base.max_attempts,
        window=base.window,
        reset_after=duration(ours.get("reset_after") if ours else None, base.reset_after),
    )


def read_placement(deploy: At | None, mode: Mode) -> Placement:
    """Constraints, spread and the most per node."""
    at = deploy.get("placement") if deploy else None
    if at is None:
        return Placement()
    most = at.get("max_replicas_per_node")
    if most is not None and mode == "global":
        most.refuse("a global service has one task on each node", "remove it")
    constraints, preferences = at.get("constraints"), at.get("preferences")
    read = [_constraint(item) for item in constraints.elements()] if constraints else []
    spread = [_spread(item) for item in preferences.elements()] if preferences else []
    return Placement(
        constraints=tuple(dict.fromkeys(item for item in read if item is not None)),
        spread=tuple(key for key in spread if key),
        max_per_node=whole(most, most=REPLICAS_LIMIT),
    )


def read_policy(at: At | None, *, rollback: bool) -> UpdatePolicy:
    """update_config or rollback_config."""
    if at is None:
        return UpdatePolicy()
    default = UpdatePolicy()
    actions = ("pause", "continue") if rollback else ("pause", "continue", "rollback")
    action = chosen(at.get("failure_action"), actions, "pause")
    order = chosen(at.get("order"), ("stop-first", "start-first"), "stop-first")
    return UpdatePolicy(
        parallelism=whole(at.get("parallelism"), default.parallelism, most=REPLICAS_LIMIT),
        delay=duration(at.get("delay"), default.delay),
        order="start-first" if order == "start-first" else "stop-first",
        monitor=duration(at.get("monitor"), default.monitor),
        failure_action="rollback" if action == "rollback" else "continue" if action == "continue" else "pause",
        max_failure_ratio=decimal(at.get("max_failure_ratio"), most=1.0),
    )


def _cpus(at: At | None) -> float:
    cpus = decimal(at, most=100_000)
    if at is not None and 0 < cpus < LEAST_CPUS:
        at.refuse(f"{text(at)} CPUs are too few", f"write at least {LEAST_CPUS}, or 0 for no limit")
    return round(cpus, 9)


def _agree(at: At, differs: bool, key: str) -> None:
    if differs:
        at.refuse(f"it differs from `{key}`", f"keep `{key}` alone")


def _simple_restart(at: At | None) -> RestartPolicy:
    if at is None:
        return RestartPolicy()
    name, _, attempts = text(at).partition(":")
    condition = _RESTARTS.get(name)
    counted = re.fullmatch(r"\d{1,9}", attempts)
    if condition is None or (attempts and (name != "on-failure" or not counted)):
        at.refuse(f"{quote(text(at))} is not known", 'use "no", on-failure, on-failure:3, always or unless-stopped')
        return RestartPolicy()
    return RestartPolicy(
        condition="none" if condition == "none" else "on-failure" if condition == "on-failure" else "any",
        max_attempts=int(attempts) if counted else 0,
    )


def _constraint(at: At) -> Constraint | None:
    line = text(at)
    match = _CONSTRAINT.fullmatch(line)
    if not match:
        single = re.fullmatch(r"\s*([^\s=!]+)\s*=\s*([^=]*?)\s*", line)
        how = f"write `{single[1]} == {single[2]}`" if single else _CONSTRAINT_HOW
        at.refuse(f"{quote(line)} is no constraint", how)
        return None
    key, op, value = match.groups()
    if not _is_key(at, key):
        return None
    if not value:
        at.refuse(f"{quote(line)} compares with nothing", _CONSTRAINT_HOW)
        return None
    if key.lower() == "node.role" and value.lower() not in ("manager", "worker"):
        at.refuse(f"{quote(value)} is no role", "use manager (a controller runs there) or worker")
        return None
    if key.lower() == "node.ip" and not _is_address(value):
        at.refuse(f"{quote(value)} is no address", "write it as 10.0.0.5, or 10.0.0.0/24 for a network")
        return None
    return Constraint(key=key, op="==" if op == "==" else "!=", value=value)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def spread_key(at: At) -> str:
    """A key to spread over; "" with a problem told."""
    key = text(at)
    return key if key and _is_key(at, key) else ""


def _spread(at: At) -> str:
    if not at.is_mapping:
        if is_null(at.node):
            at.refuse("an empty preference", "write `- spread: node.labels.zone`")
        return ""
    spread = at.get("spread")
    key = text(spread)
    if spread is None or not key:
        at.refuse("a preference without `spread`", "write `- spread: node.labels.zone`")
        return ""
    return key if _is_key(spread, key) else ""


def _is_key(at: At, key: str) -> bool:
    if key.lower() in _KEYS or _LABEL_KEYS.fullmatch(key):
        return True
    at.refuse(
        f"{quote(key)} is nothing that nodes have", "use " + ", ".join([*_KEYS, "node.labels.x or engine.labels.x"])
    )
    return False
