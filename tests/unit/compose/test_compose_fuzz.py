"""Whatever stands in a file, the reader gives a stack or a ManifestError, and a stack survives being rendered."""

from __future__ import annotations

import io
import json
from typing import Any

import ruamel.yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshctl.compose.keys import KEYS
from schemas.errors import ManifestError
from schemas.spec import ServiceSpec
from schemas.wire import decode, encode
from tests.unit.compose.cases import Honoured
from tests.unit.compose.key_cases import CASES
from tests.unit.compose.reading import load

_NAMES = sorted({part.removesuffix("[]") for key in KEYS for part in key.path.split(" ")[0].split("=")[0].split(".")})
_WORDS = [
    "web",
    "./a:/a",
    "80:80",
    "1m30s",
    "64m",
    "${A:-b}",
    "$",
    "on-failure:3",
    "node.role==manager",
    "CMD",
    "/x",
    "~",
]
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from([*_WORDS, *_NAMES]), st.text(max_size=20)
)
_keys = st.one_of(st.sampled_from(_NAMES), st.text(min_size=1, max_size=8))
_trees = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=25,
)
_services = st.dictionaries(st.sampled_from([name for name in _NAMES if name != "*"]), _trees, max_size=6)
_light = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _read(text: str, *more: str) -> None:
    try:
        stack = load(text, *more)
    except ManifestError:
        return
    for service in stack.services:
        assert decode(encode(service.spec), ServiceSpec) == service.spec
    assert load(stack.rendered()).services == stack.services


def _yaml(tree: Any) -> str:
    out = io.StringIO()
    ruamel.yaml.YAML(typ="safe", pure=True).dump(tree, out)
    return out.getvalue()


@_light
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _read(text)
    _read("services: " + text)


@_light
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    _read("services:\n  web:\n    image: a\n    " + content.decode("latin-1"))


@_light
@given(_trees)
def test_any_tree_is_read_or_refused(tree: Any) -> None:
    _read(json.dumps(tree))


@_light
@given(_services, _services)
def test_any_service_is_read_or_refused_alone_and_merged(body: dict[str, Any], other: dict[str, Any]) -> None:
    first = json.dumps({"services": {"web": {"image": "a"} | body, "b": {"image": "b"}}, "volumes": {"d": None}})
    _read(first)
    _read(first, json.dumps({"services": {"web": other}}))
    _read(json.dumps({"services": {"b": {"image": "b"} | other, "web": {"extends": "b"} | body}}))


@_light
@given(st.dictionaries(st.sampled_from(["command", "user", "labels", "environment", "deploy"]), _trees, max_size=4))
def test_any_service_in_block_style_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        text = _yaml({"services": {"web": {"image": "a"} | body}})
    except (ValueError, UnicodeError):
        return
    _read(text)


@_light
@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=30), max_size=5), st.lists(st.text(max_size=20))
)
def test_any_environment_and_command_survive_being_rendered(environment: dict[str, str], command: list[str]) -> None:
    body = {"image": "a", "environment": environment, "command": command}
    _read(json.dumps({"services": {"web": body}}).replace("$", "$$"))


@_light
@given(st.sampled_from([case.text for case in CASES.values() if isinstance(case, Honoured)]), st.data())
def test_a_good_file_with_a_piece_changed_is_read_or_refused(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    _read(text[:start] + data.draw(st.one_of(st.text(max_size=4), st.sampled_from(_WORDS))) + text[end:])
