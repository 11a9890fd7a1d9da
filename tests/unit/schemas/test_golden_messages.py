"""A golden file per message: what was once written is read for ever.

Files are never changed. A new message gets one with `UPDATE_GOLDEN=1 pytest tests/unit/schemas`; a message that has
got new fields gets a further one, `<Message>.2.json`, made by hand.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
from pathlib import Path

import msgspec
import pytest

import schemas
from schemas.errors import BadMessage
from schemas.wire import Manifest, Wire, decode, encode
from tests.unit.schemas.samples import sample

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def messages() -> dict[str, type[Wire]]:
    found: dict[str, type[Wire]] = {}
    for module in pkgutil.iter_modules(schemas.__path__, "schemas."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if (
                isinstance(kind, type)
                and issubclass(kind, Wire)
                and kind is not Wire
                and kind.__module__ == module.name
            ):
                assert name not in found, f"two messages are called {name}"
                found[name] = kind
    return found


MESSAGES = messages()
FILES = sorted(GOLDEN.glob("*.json"))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_has_a_golden_file(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    if not path.exists() and os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(msgspec.json.format(encode(sample(MESSAGES[name]))) + b"\n")
    assert path.exists(), "make it: UPDATE_GOLDEN=1 pytest tests/unit/schemas"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_is_read_and_written_the_same(path: Path) -> None:
    kind = MESSAGES[path.stem.split(".")[0]]
    text = path.read_bytes()
    value = decode(text, kind)
    assert json.loads(encode(value)) == json.loads(text)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_what_a_newer_peer_adds_is_ignored(name: str) -> None:
    value = sample(MESSAGES[name])
    newer = json.loads(encode(value)) | {"from_the_future": {"x": [1]}}
    assert encode(decode(json.dumps(newer).encode(), MESSAGES[name])).replace(b" ", b"") == encode(value)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_garbage_is_told_as_a_bad_message(name: str) -> None:
    for data in (b"", b"\xff\x00", b"[]", b"7", b'"x"', b'{"": ', b'{"a": \xff}'):
        with pytest.raises(BadMessage, match=f"not a {name}"):
            decode(data, MESSAGES[name])


class _Typed(Manifest, frozen=True, kw_only=True):
    known: int = 0


def test_what_a_person_types_must_be_known() -> None:
    assert msgspec.json.decode(b'{"known": 1}', type=_Typed).known == 1
    with pytest.raises(msgspec.ValidationError, match="unknown field `knwon`"):
        msgspec.json.decode(b'{"knwon": 1}', type=_Typed)
