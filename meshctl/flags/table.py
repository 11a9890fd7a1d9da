"""Every flag of `service create` and `service update`, told once.

A `Setting` puts one value at a path of the spec. A `Gathering` puts several values into a mapping or tuple there: in
`create` by its name, in `update` by `NAME-add` and `NAME-rm`, as docker has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from meshctl.flags.values import (
    one_of,
    parse_attachment,
    parse_bearable,
    parse_constraint,
    parse_count,
    parse_host,
    parse_mount,
    parse_pair,
    parse_ports,
    parse_ratio,
    parse_service,
    parse_spread,
    parse_ulimit,
    parse_words,
)
from meshctl.format.sizes import parse_cpus, parse_size
from meshctl.format.times import parse_duration
from schemas.spec import OnReconnect

Parser = Callable[[str, str], Any]


def _text(text: str, what: str) -> str:  # noqa: ARG001 (a Parser)
    return text


@dataclass(frozen=True)
class Setting:
    """A flag with one value."""

    name: str
    path: str
    parse: Parser
    metavar: str
    help: str
    short: str = ""
    switch: bool = False
    """--name / --no-name instead of a value."""

    @property
    def field(self) -> str:
        """The name of click's parameter."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Gathering:
    """A flag that may be given several times. `key` names an item for `-rm`; mappings are named by their keys."""

    name: str
    path: str
    parse: Parser
    metavar: str
    help: str
    key: Callable[[Any], str] | None = None
    """None: the path holds a mapping, `parse` gives (key, value)."""
    several: bool = False
    """`parse` gives a tuple of items."""
    short: str = ""
    also: tuple[str, ...] = ()
    """Further names in `create`, as docker has them."""

    @property
    def field(self) -> str:
        """The name of click's parameter (with _add and _rm for `update`)."""
        return self.name.replace("-", "_")

    @property
    def create(self) -> tuple[str, ...]:
        """Its names in `create`."""
        short = (f"-{self.short}",) if self.short else ()
        return (*short, *(f"--{name}" for name in (self.name, *self.also)))


_DRIFT = "What follows when it is changed by hand: report, replace or ignore."
_RECONNECT = "Which task stays when a lost node comes back: keep-replacement or keep-original."
_container, _limits, _reserve, _restart = "task.container.", "task.limits.", "task.reservations.", "task.restart."


def _policy(prefix: str, path: str) -> tuple[Setting, ...]:
    order = partial(one_of, allowed=("stop-first", "start-first"))
    action = partial(one_of, allowed=("pause", "continue", "rollback"))
    return (
        Setting(f"{prefix}-parallelism", f"{path}.parallelism", parse_count, "N", "Slots replaced at once."),
        Setting(f"{prefix}-delay", f"{path}.delay", parse_duration, "DURATION", "Wait between them."),
        Setting(f"{prefix}-order", f"{path}.order", order, "ORDER", "stop-first or start-first."),
        Setting(f"{prefix}-monitor", f"{path}.monitor", parse_duration, "DURATION", "A task has to run so long."),
        Setting(f"{prefix}-failure-action", f"{path}.failure_action", action, "ACTION", "pause, continue or rollback."),
        Setting(f"{prefix}-max-unavailable", f"{path}.max_unavailable", parse_bearable, "N|N%", "Slots down at most."),
        Setting(f"{prefix}-max-failure-ratio", f"{path}.max_failure_ratio", parse_ratio, "SHARE", "Failures borne."),
    )


SETTINGS: tuple[Setting, ...] = (
    Setting("user", _container + "user", _text, "NAME|UID[:GID]", "Run as this user.", short="u"),
    Setting("workdir", _container + "working_dir", _text, "DIR", "Working directory.", short="w"),
    Setting("hostname", _container + "hostname", _text, "NAME", "Host name in the container."),
    Setting("entrypoint", _container + "entrypoint", parse_words, "COMMAND", "Instead of the image's entrypoint."),
    Setting("stop-signal", _container + "stop_signal", _text, "SIGNAL", "What tells it to end."),
    Setting("stop-grace-period", _container + "stop_grace", parse_duration, "DURATION", "Then it is killed."),
    Setting("init", _container + "init", _text, "", "An init process that reaps and passes signals on.", switch=True),
    Setting("tty", _container + "tty", _text, "", "A terminal for it.", short="t", switch=True),
    Setting("read-only", _container + "read_only", _text, "", "Its root can't be written.", switch=True),
    Setting("limit-cpu", _limits + "cpus", parse_cpus, "CPUS", "It gets no more CPU than this."),
    Setting("limit-memory", _limits + "memory", parse_size, "BYTES", "It gets no more memory than this."),
    Setting("limit-pids", _limits + "pids", parse_count, "N", "It gets no more processes than this."),
    Setting("reserve-cpu", _reserve + "cpus", parse_cpus, "CPUS", "Only where so much is free."),
    Setting("reserve-memory", _reserve + "memory", parse_size, "BYTES", "Only where so much is free."),
    Setting(
        "restart-condition",
        _restart + "condition",
        partial(one_of, allowed=("none", "on-failure", "any")),
        "CONDITION",
        "When an ended task is replaced: none, on-failure or any.",
    ),
    Setting("restart-delay", _restart + "delay", parse_duration, "DURATION", "Wait before the first restart."),
    Setting("restart-max-attempts", _restart + "max_attempts", parse_count, "N", "Restarts before giving up."),
    Setting("restart-window", _restart + "window", parse_duration, "DURATION", "Attempts are counted in this."),
    Setting("replicas-max-per-node", "task.placement.max_per_node", parse_count, "N", "Most tasks on one node."),
    Setting("endpoint-mode", "endpoint_mode", partial(one_of, allowed=("vip", "dnsrr")), "MODE", "vip or dnsrr."),
    Setting("progress-deadline", "progress_deadline", parse_duration, "DURATION", "No progress so long: it failed."),
    Setting("drift", "task.drift", partial(one_of, allowed=("report", "replace", "ignore")), "POLICY", _DRIFT),
    Setting("stop-after", "task.stop_after", parse_duration, "DURATION", "Ends where the node is cut off so long."),
    Setting("on-reconnect", "on_reconnect", partial(one_of, allowed=get_args(OnReconnect)), "WHICH", _RECONNECT),
    *_policy("update", "update"),
    *_policy("rollback", "rollback"),
)

GATHERINGS: tuple[Gathering, ...] = (
    Gathering("env", _container + "environment", parse_pair, "KEY=VALUE", "An environment variable.", short="e"),
    Gathering("label", "labels", parse_pair, "KEY=VALUE", "A label of the service.", short="l"),
    Gathering("container-label", _container + "labels", parse_pair, "KEY=VALUE", "A label of its containers."),
    Gathering("constraint", "task.placement.constraints", parse_constraint, "KEY==VALUE", "Where it may run.", key=str),
    Gathering(
        "placement-pref", "task.placement.spread", parse_spread, "spread=KEY", "What it is spread over.", key=str
    ),
    Gathering(
        "publish",
        _container + "ports",
        parse_ports,
        "PORT",
        "8080:80, 8000-8010:80 (a free one), or target=80,published=8080,mode=host",
        short="p",
        key=lambda port: str(port.target),
        several=True,
    ),
    Gathering(
        "network",
        _container + "networks",
        parse_attachment,
        "NETWORK",
        "name=front,alias=web",
        key=lambda attachment: str(attachment.network),
    ),
    Gathering(
        "mount",
        _container + "mounts",
        parse_mount,
        "MOUNT",
        "type=volume,source=data,target=/data",
        key=lambda mount: str(mount.target),
    ),
    Gathering(
        "ulimit",
        _container + "ulimits",
        parse_ulimit,
        "NAME=SOFT[:HARD]",
        "A limit of the kernel.",
        key=lambda ulimit: str(ulimit.name),
    ),
    Gathering("sysctl", _container + "sysctls", parse_pair, "KEY=VALUE", "A kernel parameter of the container."),
    Gathering("group", _container + "group_add", _text, "GROUP", "A further group of the user.", key=str),
    Gathering("host", _container + "extra_hosts", parse_host, "NAME:ADDRESS", "A line of /etc/hosts.", key=str),
    Gathering("dns", _container + "dns", _text, "ADDRESS", "A name server.", key=str),
    Gathering("dns-search", _container + "dns_search", _text, "DOMAIN", "A search domain.", key=str),
    Gathering("dns-option", _container + "dns_options", _text, "OPTION", "An option of the resolver.", key=str),
    Gathering("cap", _container + "cap_add", _text, "CAPABILITY", "A capability more.", key=str, also=("cap-add",)),
    Gathering("cap-drop", _container + "cap_drop", _text, "CAPABILITY", "A capability less.", key=str),
    Gathering("affinity", "task.placement.affinity", parse_service, "SERVICE", "Only beside its tasks.", key=str),
    Gathering("anti-affinity", "task.placement.anti_affinity", parse_service, "SERVICE", "Not beside them.", key=str),
)
