"""Flags onto specs: what the user gave, applied to a new or an existing service. Pure.

Values come as click gives them: None and () are "not given". Raises UsageError for a value that can't be meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from meshctl.flags.checks import changed_health, changed_ready
from meshctl.flags.table import GATHERINGS, SETTINGS, Gathering
from meshctl.flags.values import parse_words
from meshctl.format.near import did_you_mean
from schemas.errors import UsageError
from schemas.spec import ContainerSpec, LogDriver, ServiceSpec, TaskSpec

Given = Mapping[str, Any]
S = TypeVar("S")


def new_spec(name: str, image: str, command: Sequence[str], given: Given, environ: Mapping[str, str]) -> ServiceSpec:
    """The spec for `service create`."""
    container = ContainerSpec(image=image, command=tuple(command) or None)
    spec = ServiceSpec(name=name, task=TaskSpec(container=container), mode=given.get("mode") or "replicated")
    for gathering in GATHERINGS:
        spec = _gather(spec, gathering, given.get(gathering.field) or (), (), environ, f"--{gathering.name}")
    return _settings(spec, given)


def changed_spec(spec: ServiceSpec, given: Given, environ: Mapping[str, str]) -> ServiceSpec:
    """The spec for `service update`: `spec` with what was given."""
    for gathering in GATHERINGS:
        add, remove = given.get(f"{gathering.field}_add") or (), given.get(f"{gathering.field}_rm") or ()
        spec = _gather(spec, gathering, add, remove, environ, f"--{gathering.name}-add")
    if given.get("image"):
        container = replace(spec.task.container, image=given["image"], image_id="")
        spec = put(spec, "task.container", container)
    if given.get("args") is not None:
        spec = put(spec, "task.container.command", parse_words(given["args"], "--args") or None)
    if given.get("force"):
        spec = put(spec, "task.force", spec.task.force + 1)
    return _settings(spec, given)


def put(record: S, path: str, value: Any) -> S:
    """`record` with `value` at a dotted path of its fields."""
    head, _, rest = path.partition(".")
    inner = put(getattr(record, head), rest, value) if rest else value
    return replace(record, **{head: inner})  # type: ignore[type-var]


def get(record: Any, path: str) -> Any:
    """What is at a dotted path of fields."""
    for name in path.split("."):
        record = getattr(record, name)
    return record


def _settings(spec: ServiceSpec, given: Given) -> ServiceSpec:
    for setting in SETTINGS:
        value = given.get(setting.field)
        if value is not None:
            spec = put(spec, setting.path, value if setting.switch else setting.parse(value, f"--{setting.name}"))
    spec = put(spec, "task.container.healthcheck", changed_health(spec.task.container.healthcheck, given))
    spec = put(spec, "task.container.ready", changed_ready(spec.task.container.ready, given))
    return put(spec, "task.container.logging", _logging(spec.task.container.logging, given))


def _gather(
    spec: ServiceSpec,
    gathering: Gathering,
    add: Sequence[str],
    remove: Sequence[str],
    environ: Mapping[str, str],
    what: str,
) -> ServiceSpec:
    if not add and not remove:
        return spec
    old = get(spec, gathering.path)
    if gathering.key is None:
        added = dict(_pair(gathering, text, environ, what) for text in add)
        _must_be_there(gathering, remove, list(old))
        return put(spec, gathering.path, {**{key: value for key, value in old.items() if key not in remove}, **added})
    parsed = [gathering.parse(text, what) for text in add]
    items = [item for each in parsed for item in each] if gathering.several else parsed
    wanted = [_removal(gathering, text) for text in remove]
    _must_be_there(gathering, wanted, [gathering.key(item) for item in old])
    gone = {*wanted, *(gathering.key(item) for item in items)}
    return put(spec, gathering.path, (*(item for item in old if gathering.key(item) not in gone), *items))


def _pair(gathering: Gathering, text: str, environ: Mapping[str, str], what: str) -> tuple[str, str]:
    """A key and its value; `--env NAME` alone takes it from meshctl's own environment, as docker does."""
    key, value = gathering.parse(text, what)
    if gathering.name == "env" and "=" not in text:
        return key, environ.get(key, "")
    return key, value


def _removal(gathering: Gathering, text: str) -> str:
    """The key that `-rm` means: constraints and preferences in any spelling, the rest as they are."""
    if gathering.name in ("constraint", "placement-pref"):
        return str(gathering.parse(text, f"--{gathering.name}-rm"))
    return text


def _must_be_there(gathering: Gathering, remove: Sequence[str], there: Sequence[str]) -> None:
    for key in remove:
        if key not in there:
            hint = did_you_mean(key, there, "there is none" if not there else "meshctl service inspect shows them")
            raise UsageError(f"--{gathering.name}-rm: there is no '{key}'", hint=hint)


def _logging(old: LogDriver | None, given: Given) -> LogDriver | None:
    options = dict(text.partition("=")[::2] for text in given.get("log_opt") or ())
    if not options and not given.get("log_driver"):
        return old
    base = old or LogDriver()
    driver = given.get("log_driver") or base.driver
    return LogDriver(driver=driver, options={**(base.options if driver == base.driver else {}), **options})
