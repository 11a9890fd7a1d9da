"""Services as canonical Compose YAML: long forms, no defaults, dollars doubled. Reading it gives the same back."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import ruamel.yaml
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from meshctl.compose.rollout import PROGRESS_DEADLINE
from schemas.api import ServiceDeploy
from schemas.network import NetworkRecord
from schemas.spec import (
    ContainerSpec,
    HealthCheck,
    Mount,
    Port,
    PreStart,
    ReadyCheck,
    Resources,
    RestartPolicy,
    ServiceSpec,
    UpdatePolicy,
)

_LINE_ENDS = re.compile("[\r\x85\u2028\u2029\ufeff]")


def render(stack: str, services: Iterable[ServiceDeploy], networks: Iterable[NetworkRecord] = ()) -> str:
    """The YAML of a stack."""
    volumes = _Volumes()
    services = tuple(services)
    body = {service.spec.name.removeprefix(f"{stack}_"): _service(service, volumes) for service in services}
    document = {
        "name": stack,
        "services": body,
        "networks": _Always(_networks(services, {network.name: network for network in networks}) or None),
        "volumes": _Always(volumes.declared or None),
    }
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 10_000
    out = io.StringIO()
    yaml.dump(_escaped(_kept(document)), out)
    return out.getvalue()


def _networks(services: Iterable[ServiceDeploy], made: dict[str, NetworkRecord]) -> dict[str, Any]:
    """The top-level networks under their names in the mesh."""
    names = sorted({each.network for service in services for each in service.spec.task.container.networks})
    return {name: _kept(_network(name, made.get(name))) for name in names}


def _network(name: str, record: NetworkRecord | None) -> dict[str, Any]:
    if record is None:
        return {"name": name, "external": True}
    return {
        "name": name,
        "internal": record.internal,
        "attachable": record.attachable,
        "labels": _texts(record.labels),
        "ipam": {"config": [{"subnet": record.subnet}]} if record.subnet else {},
    }


class _Representer(SafeRepresenter):
    """Quotes what readers would take for the end of a line."""


def _text_node(representer: SafeRepresenter, value: str) -> ScalarNode:
    style = '"' if _LINE_ENDS.search(value) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Representer.add_representer(str, _text_node)


class _Volumes:
    """The top-level volumes that mounts stand for."""

    def __init__(self) -> None:
        self.declared: dict[str, dict[str, Any]] = {}

    def key(self, mount: Mount) -> str:
        """The key of the mount's volume, declared if it was not."""
        entry = _kept(
            {
                "name": mount.source,
                "external": mount.external,
                "driver": mount.driver,
                "driver_opts": _texts(mount.driver_opts),
                "labels": _texts(mount.labels),
            }
        )
        base = re.sub(r"[^a-zA-Z0-9._-]+", "-", mount.source).strip("-") or "volume"
        names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(self.declared) + 2))
        key = next(name for name in names if self.declared.get(name, entry) == entry)
        self.declared[key] = entry
        return key


def _service(service: ServiceDeploy, volumes: _Volumes) -> dict[str, Any]:
    spec = service.spec
    steps = spec.task.pre_start
    return _container(spec.task.container, volumes) | {
        "depends_on": _depends_on(spec),
        "deploy": _deploy(spec, service.replicas),
        "x-mesh": {
            "drift": "" if spec.task.drift == "report" else spec.task.drift,
            "placement": {
                "affinity": list(spec.task.placement.affinity),
                "anti_affinity": list(spec.task.placement.anti_affinity),
            },
            "pre_start": [_kept(_step(step)) for step in steps],
            "publish": "local" if any(port.local for port in spec.task.container.ports) else "",
            "on_disconnect": {"stop_after": _seconds(spec.task.stop_after, 0.0)},
            "on_reconnect": "" if spec.on_reconnect == "keep-replacement" else spec.on_reconnect,
            "restart": _back_off(spec.task.restart),
            "rollout": {
                "progress_deadline": _seconds(spec.progress_deadline, PROGRESS_DEADLINE),
                "max_unavailable": spec.update.max_unavailable,
                "canary": spec.canary,
            },
            "ready": _ready(spec.task.container.ready),
        },
    }


def _step(step: PreStart) -> dict[str, Any]:
    return {
        "image": step.image,
        "entrypoint": _Always(step.entrypoint),
        "command": _Always(step.command),
        "environment": _texts(step.environment),
        "user": step.user,
        "working_dir": step.working_dir,
    }


def _depends_on(spec: ServiceSpec) -> dict[str, Any]:
    return {
        each.service.removeprefix(f"{spec.stack}_"): {
            "condition": each.condition,
            "restart": each.restart,
            "required": None if each.required else _Always(False),
        }
        for each in spec.depends_on
    }


def _ready(check: ReadyCheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    asked = {"http": f":{check.port}{check.path}"} if check.kind == "http" else {"tcp": check.port}
    times = {"interval": _seconds(check.interval, 5.0), "timeout": _seconds(check.timeout, 2.0)}
    return {**asked, **times, "retries": check.retries}


def _container(container: ContainerSpec, volumes: _Volumes) -> dict[str, Any]:
    same = (
        "platform", "user", "working_dir", "hostname", "tty", "stdin_open", "stop_signal", "read_only",
        "privileged", "pid", "ipc", "oom_score_adj", "network_mode",
    )  # fmt: skip
    lists = ("cap_add", "cap_drop", "security_opt", "group_add", "dns", "dns_search")
    logging = container.logging
    return {
        "image": container.image,
        "pull_policy": "" if container.pull_policy == "missing" else container.pull_policy,
        "entrypoint": _Always(container.entrypoint),
        "command": _Always(container.command),
        "environment": _texts(container.environment),
        "labels": _texts(container.labels),
        "sysctls": _texts(container.sysctls),
        **{name: getattr(container, name) for name in same},
        **{name: list(getattr(container, name)) for name in lists},
        "dns_opt": list(container.dns_options),
        "extra_hosts": list(container.extra_hosts),
        "init": _Always(container.init),
        "stop_grace_period": _seconds(container.stop_grace, 10.0),
        "healthcheck": _health(container.healthcheck),
        "volumes": [_mount(mount, volumes) for mount in container.mounts],
        "networks": _Always(_attachments(container) or None),
        "ports": [_port(port) for port in container.ports],
        "ulimits": {
            limit.name: {"soft": _Always(limit.soft), "hard": _Always(limit.hard)} for limit in container.ulimits
        },
        "devices": [f"{device.source}:{device.target}:{device.permissions}" for device in container.devices],
        "shm_size": container.shm_size,
        "logging": {"driver": logging.driver, "options": _texts(logging.options)} if logging else None,
    }


def _health(check: HealthCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    if check.test == ("NONE",):
        return {"disable": True}
    return {
        "test": list(check.test),
        "interval": _seconds(check.interval),
        "timeout": _seconds(check.timeout),
        "retries": check.retries,
        "start_period": _seconds(check.start_period, 0.0),
        "start_interval": _seconds(check.start_interval, 0.0),
    }


def _mount(mount: Mount, volumes: _Volumes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": mount.kind, "target": mount.target, "read_only": mount.read_only}
    if mount.kind == "volume":
        return entry | {"source": volumes.key(mount), "volume": {"nocopy": mount.no_copy}}
    if mount.kind == "tmpfs":
        return entry | {"tmpfs": {"size": mount.size, "mode": f"0o{mount.mode:o}" if mount.mode else ""}}
    bind = {"propagation": mount.propagation, "create_host_path": mount.create_host_path}
    return entry | {"source": mount.source, "bind": bind}


def _attachments(container: ContainerSpec) -> dict[str, Any]:
    return {each.network: {"aliases": list(each.aliases)} if each.aliases else {} for each in container.networks}


def _port(port: Port) -> dict[str, Any]:
    protocol = "" if port.protocol == "tcp" else port.protocol
    entry = {"target": port.target, "published": port.published, "protocol": protocol, "host_ip": port.host_ip}
    return entry | {"mode": port.mode}


def _deploy(spec: ServiceSpec, replicas: int | None) -> dict[str, Any]:
    task = spec.task
    placement = task.placement
    restart = task.restart
    default = RestartPolicy()
    return {
        "mode": "" if spec.mode == "replicated" else spec.mode,
        "replicas": _Always(replicas),
        "labels": _texts(spec.labels),
        "resources": {"limits": _resources(task.limits), "reservations": _resources(task.reservations)},
        "restart_policy": {
            "condition": "" if restart.condition == "any" else restart.condition,
            "delay": _seconds(restart.delay, default.delay),
            "max_attempts": restart.max_attempts,
            "window": _seconds(restart.window, 0.0),
        },
        "placement": {
            "constraints": [f"{item.key} {item.op} {item.value}" for item in placement.constraints],
            "preferences": [{"spread": key} for key in placement.spread],
            "max_replicas_per_node": placement.max_per_node,
        },
        "endpoint_mode": "" if spec.endpoint_mode == "vip" else spec.endpoint_mode,
        "update_config": _policy(spec.update),
        "rollback_config": _policy(spec.rollback),
    }


def _resources(resources: Resources) -> dict[str, Any]:
    cpus = f"{resources.cpus:.9f}".rstrip("0").rstrip(".") if resources.cpus else ""
    return {"cpus": cpus, "memory": resources.memory, "pids": resources.pids}


def _back_off(restart: RestartPolicy) -> dict[str, Any]:
    default = RestartPolicy()
    return {
        "max_delay": _seconds(restart.max_delay, max(default.max_delay, restart.delay)),
        "reset_after": _seconds(restart.reset_after, default.reset_after),
    }


def _policy(policy: UpdatePolicy) -> dict[str, Any]:
    default = UpdatePolicy()
    return {
        "parallelism": None if policy.parallelism == default.parallelism else _Always(policy.parallelism),
        "delay": _seconds(policy.delay, default.delay),
        "order": "" if policy.order == default.order else policy.order,
        "monitor": _seconds(policy.monitor, default.monitor),
        "failure_action": "" if policy.failure_action == default.failure_action else policy.failure_action,
        "max_failure_ratio": policy.max_failure_ratio,
    }


def _seconds(value: float, default: float | None = None) -> str:
    return "" if value == default else f"{value:.9f}".rstrip("0").rstrip(".") + "s"


class _Always:
    """A value that is kept although it is empty or zero; None is left out."""

    def __init__(self, value: object) -> None:
        self.value = list(value) if isinstance(value, tuple) else value


def _texts(values: dict[str, str]) -> dict[str, _Always]:
    return {name: _Always(value) for name, value in values.items()}


def _kept(node: Any) -> Any:
    """The tree without empty values: empty texts, zeros, false, empty mappings and lists. Texts of lists stay."""
    if isinstance(node, dict):
        found = {key: _kept(value) for key, value in node.items()}
        return {key: value for key, value in found.items() if not _is_empty(value, node[key])}
    if isinstance(node, list):
        return [_kept(item) for item in node]
    return node.value if isinstance(node, _Always) else node


def _is_empty(value: Any, raw: Any) -> bool:
    if isinstance(raw, _Always):
        return raw.value is None
    return value is None or value == "" or value == [] or value == {} or value is False or value == 0


def _escaped(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _escaped(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_escaped(item) for item in node]
    return node.replace("$", "$$") if isinstance(node, str) else node
