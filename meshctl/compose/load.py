"""Compose files in, services of a stack out: parse, interpolate, extend, merge, check, read.

`load_stack` is all that the commands need. Every step tells its problems to one list and goes on, so that one run
shows what is wrong in all files.
"""

from __future__ import annotations

import posixpath
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meshctl.compose.cursor import At
from meshctl.compose.depends import awaited, check_circles
from meshctl.compose.dotenv import parse_env
from meshctl.compose.extends import extend_services
from meshctl.compose.interpolate import interpolate_tree
from meshctl.compose.keycheck import check_keys
from meshctl.compose.merge import merge, without_tags
from meshctl.compose.networks import made_for, read_networks
from meshctl.compose.problems import Problems, quote
from meshctl.compose.project import Files, Project, read_volumes
from meshctl.compose.render import render
from meshctl.compose.scalars import text
from meshctl.compose.service import enabled, read_service
from meshctl.compose.sources import ComposeSource, Disk, read_source
from meshctl.compose.tree import Mapping as MappingNode
from meshctl.compose.tree import Where
from meshctl.compose.yamltext import NODE_LIMIT, is_encodable, parse, values_in
from schemas.errors import ManifestError, UsageError
from schemas.network import NetworkRecord
from schemas.serviceapi import ServiceDeploy
from schemas.subjects import is_token, suggest_token


@dataclass(frozen=True, slots=True)
class LoadedStack:
    """A stack as its files want it. Names in `services` are `<stack>_<service>`."""

    name: str
    services: tuple[ServiceDeploy, ...]
    warnings: tuple[str, ...] = ()
    networks: tuple[NetworkRecord, ...] = ()
    """Those that the stack makes."""

    def rendered(self) -> str:
        """Canonical YAML in long forms; loading it gives the same services."""
        return render(self.name, self.services, self.networks)


def load_stack(
    files: Sequence[ComposeSource | str],
    *,
    stack: str | None = None,
    environment: Mapping[str, str] | None = None,
    profiles: Iterable[str] = (),
    project_dir: Path | str | None = None,
    disk: Files | None = None,
) -> LoadedStack:
    """The stack that `files` (sources, or paths, or "-" for standard input) describe, later ones upon earlier ones.

    `stack` wins over the files' `name`. `environment` is the shell's; it wins over `.env` beside the first file.
    `project_dir`: where relative paths begin; the first file's directory (or the current one) if not given.

    Raises:
        ManifestError: something is wrong; the text lists all of it, a line each.
        UsageError: no file was given.
    """
    sources = [read_source(file) if isinstance(file, str) else file for file in files]
    if not sources:
        raise UsageError("no Compose file was given", hint="name one with -c FILE")
    disk = disk or Disk()
    problems = Problems()
    directory = str(Path(project_dir or sources[0].directory or ".").resolve())
    variables = _variables(sources[0].directory or directory, environment or {}, disk, problems)
    document = _document(sources, variables, problems)
    if document is None:
        problems.check()
        raise ManifestError("there is nothing in the files")
    name = _stack_name(stack, document)
    if name:
        networks = read_networks(document, name)
        project = Project(name, directory, variables, disk, read_volumes(document, name), networks)
        services = _services(document, project, frozenset(profiles))
    problems.check()
    made = made_for(networks, [service.spec for service in services])
    return LoadedStack(name, services, problems.warnings, made)


def _variables(directory: str, shell: Mapping[str, str], disk: Files, problems: Problems) -> Mapping[str, str]:
    path = posixpath.join(directory, ".env")
    content = disk.read(path)
    found = parse_env(content, path, shell, problems) if content else {}
    # A value that is not UTF-8 (the shell allows it) can't be put into a spec: it counts as not set.
    return ChainMap({name: value for name, value in shell.items() if is_encodable(value)}, found)


def _document(files: Sequence[ComposeSource], variables: Mapping[str, str], problems: Problems) -> At | None:
    """The merged document; None if none of the files can be read."""
    merged: MappingNode | None = None
    for source in files:
        tree = parse(source.text, source.name, problems)
        if tree is None:
            continue
        tree = extend_services(interpolate_tree(tree, variables, problems), problems)
        joined = merge(merged, tree, "") if merged else tree
        assert isinstance(joined, MappingNode)
        merged = joined
    if merged is None:
        return None
    if values_in(merged) > NODE_LIMIT:
        problems.add(
            Where(files[0].name, 0), "", f"more than {NODE_LIMIT} values once services are extended", "use fewer"
        )
        return None
    clean = without_tags(merged)
    return At(clean, "", Where(files[0].name, 1), problems)


def _stack_name(given: str | None, document: At) -> str:
    at = document.get("name")
    if given is not None:
        if is_token(given):
            return given
        better = suggest_token(given)
        document.problems.add(None, "", f"{quote(given)} can't be a stack's name", f"write {better}" if better else "")
        return better
    name = text(at)
    if at is None or not name:
        (at or document).refuse("the stack has no name", "give it on the command line, or as `name:` in the file")
    elif not is_token(name):
        better = suggest_token(name)
        at.refuse(f"{quote(name)} can't be a stack's name", f"write {better}" if better else "use a-z, 0-9, - and _")
        return better
    return name


def _services(document: At, project: Project, profiles: frozenset[str]) -> tuple[ServiceDeploy, ...]:
    _check_top(document)
    services = document.get("services")
    if services is None or not services.is_mapping:
        (services or document).refuse("there are no services", "write `services:` with at least one under it")
        return ()
    wanted = [(name, at) for name, at in services.entries() if enabled(at, profiles)]
    if not wanted:
        services.refuse("no service is left", "add one, or enable a profile with --profile")
    project = replace(
        project,
        declared=frozenset(name for name, _ in services.entries()),
        enabled=frozenset(name for name, _ in wanted),
        awaited=awaited(wanted),
    )
    check_circles(dict(wanted))
    read = (read_service(name, at, project) for name, at in wanted)
    return tuple(service for service in read if service is not None)


def _check_top(document: At) -> None:
    """Hold the keys of the document against the list; those of services are held when the service is read."""
    node = document.node
    assert isinstance(node, MappingNode)
    rest = {key: value for key, value in node.items.items() if key != "services"}
    check_keys(At(MappingNode(node.where, rest, node.keys), "", document.where, document.problems), "")
