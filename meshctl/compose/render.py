"""Services as canonical Compose YAML: long forms, no defaults, dollars doubled. Reading it gives the same back."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import ruamel.yaml
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from meshctl.compose.render_container import Volumes, rendered_container, rendered_ready
from meshctl.compose.rollout import PROGRESS_DEADLINE
from meshctl.compose.sparse import Always, kept, seconds, texts
from schemas.network import NetworkRecord
from schemas.serviceapi import ServiceDeploy
from schemas.spec import (
    PreStart,
    Resources,
    RestartPolicy,
    ServiceSpec,
    UpdatePolicy,
)

_LINE_ENDS = re.compile("[\r\x85\u2028\u2029\ufeff]")


def render(stack: str, services: Iterable[ServiceDeploy], networks: Iterable[NetworkRecord] = ()) -> str:
    """The YAML of a stack."""
    volumes = Volumes()
    services = tuple(services)
    body = {service.spec.name.removeprefix(f"{stack}_"): _service(service, volumes) for service in services}
    document = {
        "name": stack,
        "services": body,
        "networks": Always(_networks(services, {network.name: network for network in networks}) or None),
        "volumes": Always(volumes.declared or None),
    }
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 10_000
    out = io.StringIO()
    yaml.dump(_escaped(kept(document)), out)
    return out.getvalue()


def _networks(services: Iterable[ServiceDeploy], made: dict[str, NetworkRecord]) -> dict[str, Any]:
    """The top-level networks under their names in the mesh."""
    names = sorted({each.network for service in services for each in service.spec.task.container.networks})
    return {name: kept(_network(name, made.get(name))) for name in names}


def _network(name: str, record: NetworkRecord | None) -> dict[str, Any]:
    if record is None:
        return {"name": name, "external": True}
    return {
        "name": name,
        "internal": record.internal,
        "attachable": record.attachable,
        "labels": texts(record.labels),
        "ipam": {"config": [{"subnet": record.subnet}]} if record.subnet else {},
    }


class _Representer(SafeRepresenter):
    """Quotes what readers would take for the end of a line."""


def _text_node(representer: SafeRepresenter, value: str) -> ScalarNode:
    style = '"' if _LINE_ENDS.search(value) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Representer.add_representer(str, _text_node)


def _service(service: ServiceDeploy, volumes: Volumes) -> dict[str, Any]:
    spec = service.spec
    steps = spec.task.pre_start
    return rendered_container(spec.task.container, volumes) | {
        "depends_on": _depends_on(spec),
        "deploy": _deploy(spec, service.replicas),
        "x-mesh": {
            "drift": "" if spec.task.drift == "report" else spec.task.drift,
            "placement": {
                "affinity": list(spec.task.placement.affinity),
                "anti_affinity": list(spec.task.placement.anti_affinity),
            },
            "pre_start": [kept(_step(step)) for step in steps],
            "publish": "local" if any(port.local for port in spec.task.container.ports) else "",
            "on_disconnect": {"stop_after": seconds(spec.task.stop_after, 0.0)},
            "on_reconnect": "" if spec.on_reconnect == "keep-replacement" else spec.on_reconnect,
            "restart": _back_off(spec.task.restart),
            "rollout": {
                "progress_deadline": seconds(spec.progress_deadline, PROGRESS_DEADLINE),
                "max_unavailable": spec.update.max_unavailable,
                "canary": spec.canary,
            },
            "ready": rendered_ready(spec.task.container.ready),
        },
    }


def _step(step: PreStart) -> dict[str, Any]:
    return {
        "image": step.image,
        "entrypoint": Always(step.entrypoint),
        "command": Always(step.command),
        "environment": texts(step.environment),
        "user": step.user,
        "working_dir": step.working_dir,
    }


def _depends_on(spec: ServiceSpec) -> dict[str, Any]:
    return {
        each.service.removeprefix(f"{spec.stack}_"): {
            "condition": each.condition,
            "restart": each.restart,
            "required": None if each.required else Always(False),
        }
        for each in spec.depends_on
    }


def _deploy(spec: ServiceSpec, replicas: int | None) -> dict[str, Any]:
    task = spec.task
    placement = task.placement
    restart = task.restart
    default = RestartPolicy()
    return {
        "mode": "" if spec.mode == "replicated" else spec.mode,
        "replicas": Always(replicas),
        "labels": texts(spec.labels),
        "resources": {"limits": _resources(task.limits), "reservations": _resources(task.reservations)},
        "restart_policy": {
            "condition": "" if restart.condition == "any" else restart.condition,
            "delay": seconds(restart.delay, default.delay),
            "max_attempts": restart.max_attempts,
            "window": seconds(restart.window, 0.0),
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
        "max_delay": seconds(restart.max_delay, max(default.max_delay, restart.delay)),
        "reset_after": seconds(restart.reset_after, default.reset_after),
    }


def _policy(policy: UpdatePolicy) -> dict[str, Any]:
    default = UpdatePolicy()
    return {
        "parallelism": None if policy.parallelism == default.parallelism else Always(policy.parallelism),
        "delay": seconds(policy.delay, default.delay),
        "order": "" if policy.order == default.order else policy.order,
        "monitor": seconds(policy.monitor, default.monitor),
        "failure_action": "" if policy.failure_action == default.failure_action else policy.failure_action,
        "max_failure_ratio": policy.max_failure_ratio,
    }


def _escaped(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _escaped(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_escaped(item) for item in node]
    return node.replace("$", "$$") if isinstance(node, str) else node
