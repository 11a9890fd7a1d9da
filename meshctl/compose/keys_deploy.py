"""The keys under a service's `deploy` that are honoured. Rows of `meshctl.compose.keys`."""

from __future__ import annotations

_D = "services.*.deploy"

_POLICY = {
    "": "how a change replaces tasks: docs/ROLLOUTS.md",
    ".parallelism": "so many slots take their turn at once, 1 if not given; 0 is all",
    ".delay": "a duration between a new task that is up and the next turn",
    ".failure_action": "what a failure leads to",
    ".monitor": "a duration; a new task that ends within it has failed, 5s if not given",
    ".max_failure_ratio": "0 to 1; more failures than this share of the replaced slots are a failed deploy",
    ".order": "`stop-first`, or `start-first`: the new task beside the old one until it is up (healthy)",
}

_NOTES = {
    "": "how the service runs in the mesh",
    ".endpoint_mode": "`vip` (one address for all tasks) or `dnsrr` (the name is the tasks' addresses)",
    ".mode": "`replicated` or `global`",
    ".replicas": "0 to 20000, for replicated services; as it is if not given, 1 for a new one",
    ".labels": "on the service; a mapping or a list",
    ".labels.*": "one label",
    ".resources": "limits are enforced by the engine, reservations are set aside by placement",
    ".resources.limits": "what a task may use",
    ".resources.limits.cpus": "cores",
    ".resources.limits.memory": "a size, at least 6 MiB",
    ".resources.limits.pids": "a whole number",
    ".resources.reservations": "what a node must have free",
    ".resources.reservations.cpus": "cores",
    ".resources.reservations.memory": "a size",
    ".restart_policy": "waits double from `delay` up to `x-mesh.restart.max_delay`",
    ".restart_policy.condition": "`none`, `on-failure` or `any`",
    ".restart_policy.delay": "a duration; the first wait, 0.5s if not given",
    ".restart_policy.max_attempts": "a whole number; 0 is without limit",
    ".restart_policy.window": "a duration within which attempts are counted",
    ".placement": "which nodes",
    ".placement.constraints": "a list of `key == value` and `key != value`",
    ".placement.preferences": "a list; outermost first",
    ".placement.preferences[]": "one level",
    ".placement.preferences[].spread": "the key to spread over, as `node.labels.zone`",
    ".placement.max_replicas_per_node": "a whole number, for replicated services",
    **{f".update_config{key}": note for key, note in _POLICY.items()},
    **{f".rollback_config{key}": note for key, note in _POLICY.items()},
    ".rollback_config": "the same for going back; that of the revision that is left holds",
    ".update_config.failure_action": "`pause`, `continue` or `rollback` (to the last revision that came up as a whole)",
    ".rollback_config.failure_action": "`pause` or `continue`",
}

DEPLOY = {_D + path: note for path, note in _NOTES.items()}
