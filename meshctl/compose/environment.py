"""`environment` and `env_file`: the container's variables, placeholders left for the agent to fill in."""

from __future__ import annotations

from meshctl.compose.cursor import At
from meshctl.compose.dotenv import parse_env
from meshctl.compose.problems import quote
from meshctl.compose.project import Project, check_placeholders
from meshctl.compose.scalars import chosen, text, truth
from meshctl.compose.tree import BROKEN, is_null


def read_environment(service: At, project: Project) -> dict[str, str]:
    """The variables: of the files in their order, and above them `environment`."""
    found: dict[str, str] = {}
    files = service.get("env_file")
    for item in _each(files):
        found.update(_from_file(item, project))
    for name, value, at in _given(service.get("environment")):
        if not name or "=" in name or "\0" in name:
            at.refuse(f"{quote(name)} is no variable's name", "write NAME: value")
        elif value is not None:
            found[name] = check_placeholders(at, value)
        elif name in project.variables:
            found[name] = project.variables[name]
        else:
            found.pop(name, None)
    return found


def _each(at: At | None) -> list[At]:
    if at is None:
        return []
    return [at] if at.is_mapping else list(at.one_or_more())


def _given(at: At | None) -> list[tuple[str, str | None, At]]:
    """Names and values; None: the shell has it."""
    if at is None:
        return []
    if at.is_list:
        parted = [(item, *text(item).partition("=")) for item in at.elements() if item.node.tag != BROKEN]
        return [(name, value if sign else None, item) for item, name, sign, value in parted]
    return [(name, None if is_null(value.node) else text(value), value) for name, value in at.entries()]


def _from_file(at: At, project: Project) -> dict[str, str]:
    named = at.get("path") if at.is_mapping else at
    name = text(named)
    if named is None or not name:
        at.refuse("names no file", "write the file's path")
        return {}
    required = truth(at.get("required"), default=True)
    raw = chosen(at.get("format"), ("raw", ""), "") == "raw"
    content = project.files.read(project.path(named, name))
    if content is None:
        if required:
            named.refuse(f"there is no file {quote(name)}", "create it, or write {path: ..., required: false}")
        return {}
    values = parse_env(content, name, project.variables, at.problems, raw=raw)
    return {key: check_placeholders(at, value) for key, value in values.items()}
