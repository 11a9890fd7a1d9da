r"""Docker's --format templates, the part of Go's language that people use with them.

`{{.Field}}`, `{{.A.B}}`, `{{json .}}`, `{{upper .X}}`, `{{lower .X}}`, `{{title .X}}`, `{{len .X}}`, `{{join .X ","}}`,
`{{index .X "key"}}`, `{{println .X}}`, pipes, `\t` and `\n`. Names are found in any spelling: `.TargetPort` finds
`target_port`. Control structures (range, if, with) are refused: use --format json.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from schemas.errors import UsageError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_PATH = re.compile(r"\.(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?")
_CONTROL = frozenset({"range", "if", "else", "end", "with", "define", "block", "template"})


class Template:
    """A parsed template. Raises UsageError when made from one that can't be meant."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: list[str | list[list[str]]] = []
        at = 0
        for match in _ACTION.finditer(text):
            self._literal(text[at : match.start()])
            self._parts.append(_parse(match.group(1), text))
            at = match.end()
        self._literal(text[at:])

    def fields(self) -> list[str]:
        """The name of each action, for the header of a table."""
        return [part[0][-1] for part in self._parts if isinstance(part, list)]

    def render(self, value: Any) -> str:
        """The text for one value (a mapping, list or scalar). Raises UsageError for a field that is not there."""
        return "".join(part if isinstance(part, str) else _text(self._evaluate(part, value)) for part in self._parts)

    def header(self, names: Mapping[str, str]) -> str:
        """The text with each action replaced by the column's header, for `table ...`."""
        return "".join(part if isinstance(part, str) else _header(part, names) for part in self._parts)

    def _literal(self, text: str) -> None:
        if "{{" in text or "}}" in text:
            raise UsageError(f"--format: unbalanced braces in '{self._text}'", hint="write {{.Field}}")
        if text:
            self._parts.append(text.replace("\\t", "\t").replace("\\n", "\n"))

    def _evaluate(self, pipeline: list[list[str]], value: Any) -> Any:
        result: Any = None
        for position, words in enumerate(pipeline):
            arguments = [_argument(word, value) for word in words if word not in _FUNCTIONS]
            if position:
                arguments.append(result)
            name = next((word for word in words if word in _FUNCTIONS), "")
            result = _call(name, arguments) if name else arguments[0]
        return result


def _parse(action: str, text: str) -> list[list[str]]:
    hint = 'known: {{.Field}}, {{json .}}, {{upper .Field}}, {{join .Field ","}}; for all else --format json'
    try:
        pipeline = [shlex.split(stage, posix=False) for stage in action.split("|")]
    except ValueError:
        raise UsageError(f"--format: '{action}' can't be read", hint=hint) from None
    for words in pipeline:
        if not words:
            raise UsageError(f"--format: an empty action in '{text}'", hint=hint)
        head = words[0]
        if head in _CONTROL:
            raise UsageError(f"--format: '{head}' is not understood here", hint=hint)
        for position, word in enumerate(words):
            function = position == 0 and word in _FUNCTIONS
            if not (function or _PATH.fullmatch(word) or word[:1] in "\"'`" or word.isdigit()):
                raise UsageError(f"--format: '{word}' in '{{{{{action}}}}}' is not understood", hint=hint)
    return pipeline


def _argument(word: str, value: Any) -> Any:
    if word.isdigit():
        return int(word)
    if word[:1] in "\"'`":
        return word[1:-1].replace("\\n", "\n").replace("\\t", "\t")
    for name in filter(None, word.split(".")):
        value = _field(value, name, word)
    return value


def _field(value: Any, name: str, path: str) -> Any:
    if isinstance(value, Mapping):
        plain = _plain(name)
        for key, found in value.items():
            if key == name or _plain(str(key)) == plain:
                return found
        near = get_close_matches(plain, [_plain(str(key)) for key in value], n=1)
        exact = next((str(key) for key in value if near and _plain(str(key)) == near[0]), "")
        fields = ", ".join(str(key) for key in value)
        hint = f"did you mean '{exact}'?" if exact else f"there is: {fields}"
        raise UsageError(f"--format: there is no field '{path}'", hint=hint)
    raise UsageError(
        f"--format: '{path}': '{name}' has nothing to be taken from", hint="use {{json .}} to see the fields"
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _call(name: str, arguments: Sequence[Any]) -> Any:
    try:
        return _FUNCTIONS[name](*arguments)
    except (TypeError, LookupError, ValueError, AttributeError):
        shown = ", ".join(_text(argument) for argument in arguments)
        raise UsageError(f"--format: {name} can't be used on ({shown})") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    return _json(value) if isinstance(value, Mapping | list | tuple) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _header(pipeline: list[list[str]], names: Mapping[str, str]) -> str:
    path = next((word for word in pipeline[0] if word.startswith(".")), ".")
    field = path.rsplit(".", 1)[-1]
    return next((header for name, header in names.items() if _plain(name) == _plain(field)), field.upper())


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "len": len,
    "join": lambda items, separator: separator.join(str(item) for item in items),
    "split": lambda text, separator: text.split(separator),
    "index": lambda items, *keys: _index(items, keys),
    "println": lambda text: f"{_text(text)}\n",
}


def _index(items: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        items = items[key] if isinstance(key, int) else items.get(key, "")
    return items
