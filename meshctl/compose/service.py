"""One service of the document becomes one `ServiceDeploy`."""

from __future__ import annotations

from meshctl.compose import deploy as deploys
from meshctl.compose.company import read_company
from meshctl.compose.container import read_container, read_labels
from meshctl.compose.cursor import At
from meshctl.compose.depends import read_depends_on, restart_of_awaited
from meshctl.compose.disconnect import check_alone, read_on_reconnect, read_stop_after
from meshctl.compose.keycheck import check_keys
from meshctl.compose.keys import remedy
from meshctl.compose.networks import read_endpoint_mode
from meshctl.compose.pre_start import read_pre_start
from meshctl.compose.problems import quote
from meshctl.compose.project import Project, has_placeholders
from meshctl.compose.rollout import read_canary, read_progress_deadline, with_max_unavailable
from meshctl.compose.scalars import chosen, texts
from meshctl.compose.tree import Mapping, Node, Scalar, is_extension, is_null
from schemas.drift import DriftPolicy
from schemas.serviceapi import ServiceDeploy
from schemas.spec import SPEC_LIMIT, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.subjects import is_token, suggest_token
from schemas.wire import encode

NAME_LIMIT = 63

_FILLED_IN = {"hostname", "environment", "env_file", "volumes", "tmpfs"}


def read_service(name: str, service: At, project: Project) -> ServiceDeploy | None:
    """The service as the mesh is asked for it; None with problems told."""
    full = check_name(name, service, project.stack)
    check_keys(service, "services.*")
    if not service.is_mapping:
        if is_null(service.node):
            service.refuse("a service without any keys", remedy("services.*.image (missing)"))
        return None
    _check_literals(service)
    deploy = service.get("deploy")
    mode = deploys.read_mode(deploy)
    limits = deploys.read_limits(service)
    task = TaskSpec(
        container=read_container(service, project),
        limits=limits,
        reservations=deploys.read_reservations(service, limits),
        restart=restart_of_awaited(name, service, deploys.read_restart(service), project),
        pre_start=read_pre_start(service, project),
        drift=_drift(service),
        placement=read_company(name, service, deploys.read_placement(deploy, mode), project, mode),
        stop_after=read_stop_after(service),
    )
    check_alone(service, task.stop_after)
    spec = ServiceSpec(
        name=full,
        stack=project.stack,
        mode=mode,
        task=task,
        labels=read_labels(deploy.get("labels") if deploy else None),
        endpoint_mode=read_endpoint_mode(deploy),
        depends_on=read_depends_on(name, service, project),
        update=_policy(service, "update_config"),
        rollback=_policy(service, "rollback_config"),
        progress_deadline=read_progress_deadline(service),
        canary=read_canary(service),
        on_reconnect=read_on_reconnect(service),
    )
    if not spec.task.container.networks and any(port.mode == "ingress" for port in spec.task.container.ports):
        (service.get("ports") or service).refuse(
            "a port is published on every node, and the service is on no network", "publish it with `mode: host`"
        )
    _check_size(service, spec)
    return ServiceDeploy(spec=spec, replicas=deploys.read_replicas(deploy, mode))


def _policy(service: At, key: str) -> UpdatePolicy:
    policy = deploys.read_policy(service.dig("deploy", key), rollback=key == "rollback_config")
    return with_max_unavailable(service, policy)


def _drift(service: At) -> DriftPolicy:
    chose = chosen(service.dig("x-mesh", "drift"), ("report", "replace", "ignore"), "report")
    return "replace" if chose == "replace" else "ignore" if chose == "ignore" else "report"


def enabled(service: At, profiles: frozenset[str]) -> bool:
    """Whether the service belongs to the stack: it has no profiles, or one of them is enabled."""
    at = service.get("profiles")
    wanted = texts(at)
    return not wanted or "*" in profiles or not profiles.isdisjoint(wanted)


def check_name(name: str, at: At, stack: str) -> str:
    """`<stack>_<service>`, after telling what is wrong with it."""
    full = f"{stack}_{name}"
    if not is_token(name):
        better = suggest_token(name)
        at.refuse(f"{quote(name)} can't be a service's name", f"write {better}" if better else "use a-z, 0-9, - and _")
    elif len(full) > NAME_LIMIT:
        at.refuse(
            f"{quote(full)} has {len(full)} characters, more than {NAME_LIMIT}", "shorten the stack's or service's name"
        )
    return full


def _check_literals(service: At) -> None:
    """Tell of placeholders where nobody fills them in."""
    for key, at in service.entries():
        if key not in _FILLED_IN and not is_extension(key) and (held := _holding(at.node)):
            at.refuse(f"{quote(held)} is not filled in here", "placeholders are for hostname, environment and volumes")


def _holding(node: Node) -> str:
    if isinstance(node, Scalar):
        return node.text if has_placeholders(node.text) else ""
    nodes = node.items.values() if isinstance(node, Mapping) else node.items
    return next((held for held in map(_holding, nodes) if held), "")


def _check_size(service: At, spec: ServiceSpec) -> None:
    size = len(encode(spec))
    if size <= SPEC_LIMIT:
        return
    container = spec.task.container
    parts = {field: len(encode(getattr(container, field))) for field in container.__struct_fields__}
    parts["deploy.labels"] = len(encode(spec.labels))
    parts["deploy.placement"] = len(encode(spec.task.placement))
    biggest = sorted(parts, key=lambda field: -parts[field])[:2]
    told = ", ".join(f"{field} {parts[field]} bytes" for field in biggest)
    service.refuse(
        f"the service has {size} bytes, more than {SPEC_LIMIT} ({told})", "put large values into files on the nodes"
    )
