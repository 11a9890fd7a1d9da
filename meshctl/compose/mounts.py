"""`volumes` and `tmpfs` of a service: short and long forms become `schemas.spec.Mount`s."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.project import Project, Volume, check_placeholders
from meshctl.compose.scalars import chosen, size, text, truth
from meshctl.compose.tree import BROKEN, Scalar
from schemas.spec import Mount

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\|[A-Za-z]:/[^:]*:/")
_KINDS = ("volume", "bind", "tmpfs")
_V = "services.*.volumes"


def read_mounts(service: At, project: Project) -> tuple[Mount, ...]:
    """All mounts of a service, each place in the container once."""
    found: dict[str, Mount] = {}
    for at, mount in _all(service, project):
        if mount.target in found:
            at.refuse(f"{quote(mount.target)} is mounted twice", "keep one of them")
        if not mount.target.startswith("/") or mount.target.strip("/") == "":
            at.refuse(f"{quote(mount.target)} is no place in a container", "write an absolute path")
        check_placeholders(at, mount.source + mount.target)
        found[mount.target] = mount
    return tuple(found.values())


def _all(service: At, project: Project) -> Iterator[tuple[At, Mount]]:
    if (volumes := service.get("volumes")) is not None:
        for item in volumes.elements():
            mount = _long(item, project) if item.is_mapping else _short(item, project)
            if mount is not None:
                yield item, mount
    if (tmpfs := service.get("tmpfs")) is not None:
        for item in tmpfs.one_or_more():
            yield item, _memory(item)


def _short(at: At, project: Project) -> Mount | None:
    """source:target[:options]"""
    line = text(at)
    if at.node.tag == BROKEN or not isinstance(at.node, Scalar):
        return None
    if _WINDOWS.match(line):
        at.refuse("a Windows path", "nodes run Linux: write a path with /")
        return None
    parts = line.split(":")
    if len(parts) == 1:
        at.refuse("a volume without a name: each new task would begin with an empty one", remedy(f"{_V} (anonymous)"))
        return None
    if len(parts) > 3 or not parts[0] or not parts[1]:
        at.refuse(f"{quote(line)} is no mount", "write source:target or source:target:ro")
        return None
    source, target, options = parts[0], parts[1], parts[2].split(",") if len(parts) == 3 else []
    read_only, no_copy, propagation = _options(at, options)
    if source.startswith((".", "/", "~")):
        if no_copy:
            at.refuse("nocopy is for named volumes", "remove it")
        path = project.path(at, source)
        return Mount(kind="bind", source=path, target=target, read_only=read_only, propagation=propagation)
    if propagation:
        at.refuse(f"{propagation} is for paths of the host", "remove it")
    return _named(at, source, target, project, read_only=read_only, no_copy=no_copy)


def _options(at: At, options: list[str]) -> tuple[bool, bool, str]:
    read_only, no_copy, propagation = False, False, ""
    for option in options:
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option == "nocopy":
            no_copy = True
        elif option in _PROPAGATION:
            propagation = option
        elif option in ("z", "Z"):
            at.refuse(f"the option {option} (SELinux) is not supported", remedy(f"{_V}[].bind.selinux"))
        elif option in ("cached", "delegated", "consistent"):
            at.refuse(f"the option {option} is not supported", remedy(f"{_V}[].consistency"))
        else:
            at.refuse(f"the option {quote(option)} is not known", "use ro, rw or nocopy")
    return read_only, no_copy, propagation


def _named(at: At, source: str, target: str, project: Project, *, read_only: bool, no_copy: bool) -> Mount | None:
    volume = project.volumes.get(source)
    if volume is None:
        how = f"write ./{source} for a path" if "/" in source else f"add `{source}:` under the top-level `volumes:`"
        at.refuse(f"the volume {quote(source)} is not declared", how)
        return None
    return _of_volume(volume, target, read_only=read_only, no_copy=no_copy)


def _of_volume(volume: Volume, target: str, *, read_only: bool, no_copy: bool) -> Mount:
    return Mount(
        kind="volume",
        source=volume.name,
        target=target,
        read_only=read_only,
        no_copy=no_copy,
        external=volume.external,
        driver=volume.driver,
        driver_opts=dict(volume.driver_opts or {}),
        labels=dict(volume.labels or {}),
    )


def _long(at: At, project: Project) -> Mount | None:
    kind = text(at.get("type"))
    if kind not in _KINDS:
        (at.get("type") or at).refuse(
            f"the type {quote(kind)} is not supported" if kind else "a mount without `type`",
            remedy(f"{_V}[].type=npipe cluster image"),
        )
        return None
    for other in _KINDS:
        if other != kind and (extra := at.get(other)) is not None:
            extra.refuse(f"`{other}` belongs to mounts of type {other}", "remove it")
    target, read_only = text(at.get("target")), truth(at.get("read_only"))
    source = at.get("source")
    if kind == "tmpfs":
        if source is not None:
            source.refuse("memory has no source", "remove it")
        amount, mode = size(at.dig("tmpfs", "size")), _octal(at.dig("tmpfs", "mode"))
        return Mount(kind="tmpfs", target=target, read_only=read_only, size=amount, mode=mode)
    if source is None or not text(source):
        (source or at).refuse("a mount without `source`", remedy(f"{_V} (anonymous)"))
        return None
    if kind == "volume":
        no_copy = truth(at.dig("volume", "nocopy"))
        return _named(source, text(source), target, project, read_only=read_only, no_copy=no_copy)
    return Mount(
        kind="bind",
        source=project.path(source, text(source)),
        target=target,
        read_only=read_only,
        propagation=chosen(at.dig("bind", "propagation"), _PROPAGATION, ""),
        create_host_path=truth(at.dig("bind", "create_host_path")),
    )


def _memory(at: At) -> Mount:
    """A `tmpfs` line: path[:size=64m,mode=1777,ro]."""
    path, _, options = text(at).partition(":")
    amount, mode, read_only = 0, 0, False
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        part = At(Scalar(at.where, value, value), at.path, at.where, at.problems)
        if name == "size":
            amount = size(part)
        elif name == "mode":
            mode = _octal(part)
        elif option in ("ro", "rw"):
            read_only = option == "ro"
        else:
            at.refuse(f"the option {quote(option)} is not supported", "use size, mode, ro or rw")
    return Mount(kind="tmpfs", target=path, size=amount, mode=mode, read_only=read_only)


def _octal(at: At | None) -> int:
    """A file mode. A bare 700 is refused: to YAML it is decimal, to people it is octal."""
    if at is None:
        return 0
    digits = text(at)
    unclear = isinstance(at.node, Scalar) and isinstance(at.node.value, int) and not digits.startswith("0")
    if unclear or not re.fullmatch(r"(0o?)?[0-7]{1,4}", digits):
        at.refuse(
            f"{quote(digits)} is no octal mode", f"write 0o{digits}" if digits.isdigit() else "write it as 0o1777"
        )
        return 0
    return int(digits.removeprefix("0o"), 8)
