"""The calls to Docker's API, synchronous: each runs in a worker thread with that thread's client."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors

from agent.engine.docker_client import LOCAL, Api
from agent.engine.docker_texts import explain
from agent.engine.docker_views import (
    Json,
    container_view,
    has_manifest_ids,
    image_view,
    info_view,
    listed_image_view,
    listed_ports,
    volume_views,
)
from agent.engine.labels import Owner
from agent.engine.logs import frames_of, lines_of_frames, lines_of_text, plan_fetch
from agent.engine.model import Container, EngineInfo, ImageInfo, Volume
from agent.engine.plans import ContainerPlan, LogQuery, VolumePlan
from schemas.errors import Conflict, EngineError, EngineUnavailable
from schemas.nodeapi import LogLine
from schemas.observation import BoundPort

SYSCTLS = (
    "fs.inotify.max_user_watches",
    "kernel.unprivileged_userns_clone",
    "net.bridge.bridge-nf-call-iptables",
    "net.core.somaxconn",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv6.conf.all.disable_ipv6",
    "user.max_user_namespaces",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.swappiness",
)
"""What programs in containers are known to fail or behave otherwise for; none that follows from a machine's size."""


def info(api: Api) -> EngineInfo:
    """Facts and free space."""
    data = api.info()
    try:
        usage = shutil.disk_usage(data.get("DockerRootDir") or "/nonexistent")
        disk = (usage.total, usage.free)
    except OSError:
        disk = (0, 0)
    return replace(info_view(data, api.api_version, disk), sysctls=sysctls() if api.base_url.startswith(LOCAL) else {})


def sysctls() -> dict[str, str]:
    """The settings of this machine's kernel that matter to containers; what can't be read is left out."""
    found: dict[str, str] = {}
    for name in SYSCTLS:
        with suppress(OSError):
            found[name] = " ".join(Path("/proc/sys", *name.split(".")).read_text().split())
    return found


def listed(api: Api, owner: Owner) -> list[dict[str, Any]]:
    """The list entries of that owner's containers."""
    labels = [f"{key}={value}" for key, value in owner.labels.items()]
    found: list[dict[str, Any]] = api.containers(all=True, filters={"label": labels})
    return found


def inspect(api: Api, container: str) -> Container:
    """One container. Raises NotFound (translated by the caller)."""
    return container_view(api.inspect_container(container))


def create(api: Api, plan: ContainerPlan) -> str:
    """Make volumes and container; see `Engine.create`."""
    for volume in plan.volumes:
        ensure_volume(api, volume)
    try:
        made = api.create_container_from_config(  # type: ignore[no-untyped-call]
            dict(plan.body), plan.name, plan.platform or None
        )
    except docker.errors.APIError as error:
        if error.response is None or error.response.status_code != 409:
            raise
        return _made_before(api, plan, str(error.explanation))
    return str(made["Id"])


def _made_before(api: Api, plan: ContainerPlan, refusal: str) -> str:
    """The container that has the plan's name, if it is the plan's. Its image may have given it more labels."""
    try:
        there = inspect(api, plan.name)
    except docker.errors.NotFound:
        # A name is taken from the moment at which the engine begins to make its container.
        raise EngineUnavailable(f"the container engine has not finished making {plan.name} yet") from None
    if plan.labels.items() <= there.labels.items():
        return there.id
    raise Conflict(explain(refusal))


def kill(api: Api, container: str, signal: str) -> None:
    """Send a signal; one that has ended needs none."""
    try:
        api.kill(container, signal)
    except docker.errors.APIError as error:
        if "is not running" not in str(error.explanation):
            raise


def remove(api: Api, container: str, *, force: bool) -> None:
    """Remove it; one that is gone, or about to go, is fine."""
    try:
        api.remove_container(container, v=True, force=force)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if "already in progress" not in str(error.explanation):
            raise


def read_log(api: Api, container: str, query: LogQuery, *, tty: bool) -> list[LogLine]:
    """The lines that `take_page` wants; no more are read than it needs."""
    fetch = plan_fetch(query)
    since = f"{fetch.since // 10**9}.{fetch.since % 10**9:09d}"
    parameters = {
        "stdout": "1",
        "stderr": "1",
        "timestamps": "1",
        "since": since,
        "tail": str(fetch.tail) if fetch.tail >= 0 else "all",
    }
    # docker-py's own call drops which stream a line came from, and the nanoseconds of `since`.
    url = f"{api.base_url}/v{api.api_version}/containers/{container}/logs"
    response = api.get(url, params=parameters, stream=True, timeout=api.timeout)
    try:
        if response.status_code >= 400:
            raise docker.errors.APIError(response.text, response=response, explanation=_message(response))
        chunks = response.iter_content(64 * 1024)
        lines = lines_of_text(chunks) if tty else lines_of_frames(frames_of(chunks))
        wanted = fetch.cursor.told + query.limit + 1
        return [line for line, _ in zip(lines, range(wanted), strict=False)]
    finally:
        response.close()


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError):
        return f"HTTP status {response.status_code}"


def is_tty(api: Api, container: str) -> tuple[bool, Container]:
    """Whether it has a terminal, and how it is now."""
    data = api.inspect_container(container)
    return bool((data.get("Config") or {}).get("Tty")), container_view(data)


def stop_signal(api: Api, container: str) -> tuple[str, Container]:
    """The signal that asks it to end, and how it is now."""
    data = api.inspect_container(container)
    return (data.get("Config") or {}).get("StopSignal") or "SIGTERM", container_view(data)


def other_ports(api: Api, owner: Owner) -> tuple[BoundPort, ...]:
    """Host ports of running containers that are not that owner's."""
    entries: list[Json] = api.containers()
    return tuple(port for entry in entries if not owner.owns(entry.get("Labels") or {}) for port in listed_ports(entry))


def volumes(api: Api) -> tuple[Volume, ...]:
    """All named volumes."""
    return volume_views(api.volumes())


def ensure_volume(api: Api, plan: VolumePlan) -> None:
    """Make a named volume that is not there. Raises EngineError for an external one."""
    try:
        api.inspect_volume(plan.name)
    except docker.errors.NotFound:
        if plan.external:
            raise EngineError(f"external volume {plan.name} does not exist on this node") from None
        driver, options = plan.driver or "local", dict(plan.driver_opts)
        api.create_volume(plan.name, driver, options or None, dict(plan.labels) or None)


def manifest_ids(api: Api) -> bool:
    """Whether the engine names images by their manifests."""
    return has_manifest_ids(api.info())


def image(api: Api, reference: str, *, manifest_ids: bool = False) -> ImageInfo | None:
    """The image, if it is here."""
    try:
        data = api.inspect_image(reference)  # type: ignore[no-untyped-call]
    except docker.errors.NotFound:
        return None
    return image_view(data, manifest_ids=manifest_ids)


def images(api: Api, *, manifest_ids: bool = False) -> tuple[ImageInfo, ...]:
    """All images, sorted by id."""
    entries: list[Json] = api.images()
    return tuple(sorted((listed_image_view(one, manifest_ids=manifest_ids) for one in entries), key=lambda one: one.id))


def remove_image(api: Api, reference: str) -> None:
    """Remove it with all its tags; one that is gone is fine. Raises Conflict while a container is made of it."""
    found = image(api, reference)
    if found is None:
        return
    users: list[Json] = api.containers(all=True, filters={"ancestor": found.id})
    if users:
        name = str((users[0].get("Names") or [users[0]["Id"]])[0]).lstrip("/")
        raise Conflict(f"image {reference} is used by container {name}")
    # Never forced: that would take an image from under a container. The last tag takes the image with it.
    for name in found.tags or (found.id,):
        with suppress(docker.errors.NotFound):
            api.remove_image(name)


def load(api: Api, chunks: Iterable[bytes]) -> tuple[str, ...]:
    """Load an archive; what it held, as the engine tells it."""
    names: list[str] = []
    for message in api.load_image(chunks):  # type: ignore[no-untyped-call]
        if error := message.get("error"):
            raise EngineError(explain(str(error)))
        text = str(message.get("stream", ""))
        for sign in ("Loaded image ID: ", "Loaded image: "):
            names += [line.removeprefix(sign).strip() for line in text.splitlines() if line.startswith(sign)]
    return tuple(dict.fromkeys(names))


def save(api: Api, reference: str) -> Iterator[bytes]:
    """An image's archive in chunks."""
    chunks: Iterator[bytes] = api.get_image(reference, chunk_size=256 * 1024)
    return chunks


def split_reference(reference: str) -> tuple[str, str]:
    """Name and tag or digest of a reference; a missing tag is `latest`, never "all of them"."""
    named, _, digest = reference.partition("@")
    name, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        name, tag = named, "latest"
    return name, digest or tag


def path_exists(path: str) -> bool:
    """Whether the path is on this machine; the engine is taken to run here."""
    return Path(path).exists()
