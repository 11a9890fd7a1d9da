"""Files of `KEY=value` lines: `.env` beside the first file, and what `env_file` names.

`#` begins a comment (after a blank inside a line), `export ` is allowed, single quotes are literal, double quotes
know \\n \\r \\t \\" \\\\ and may span lines. Unquoted and double-quoted values know variables. A key alone takes its
value from the shell.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

from meshctl.compose.interpolate import BadInterpolation, interpolate
from meshctl.compose.problems import Problems, quote
from meshctl.compose.tree import Where

_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def parse_env(
    text: str, file: str, outer: Mapping[str, str], problems: Problems, *, raw: bool = False
) -> dict[str, str]:
    """The variables of the file. `outer` (the shell) fills in `$NAME` and keys alone; `raw`: values are left as is."""
    return _EnvText(text, file, outer, problems, raw=raw).run()


class _EnvText:
    def __init__(self, text: str, file: str, outer: Mapping[str, str], problems: Problems, *, raw: bool) -> None:
        self._lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        self._file = file
        self._problems = problems
        self._raw = raw
        self._found: dict[str, str] = {}
        self._outer = outer
        self._variables: Mapping[str, str] = ChainMap(dict(outer), self._found)
        self._number = 0

    def run(self) -> dict[str, str]:
        while self._number < len(self._lines):
            line = self._lines[self._number]
            self._number += 1
            if line.strip() and not line.lstrip().startswith("#"):
                self._line(line, Where(self._file, self._number))
        return self._found

    def _line(self, line: str, where: Where) -> None:
        match = _KEY.match(line)
        rest = line[match.end() :] if match else ""
        if not match or (rest and rest[0] not in "=#"):
            self._problems.add(
                where, "", f"{quote(line.strip())} is no KEY=value", "write KEY=value, or # before a comment"
            )
            return
        key = match.group(1)
        if not rest.startswith("="):
            if key in self._outer:
                self._found[key] = self._outer[key]
            return
        if "\0" in rest:
            self._problems.add(where, key, "holds a character that text can't have", "remove it")
            return
        try:
            self._found[key] = rest[1:] if self._raw else self._value(rest[1:].strip(" \t"), where, key)
        except BadInterpolation as error:
            self._problems.add(where, key, *error.args)

    def _value(self, text: str, where: Where, key: str) -> str:
        if text[:1] in ("'", '"'):
            return self._quoted(text, where, key)
        return interpolate(re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip(), self._variables)

    def _quoted(self, text: str, where: Where, key: str) -> str:
        sign, body = text[0], text[1:]
        parts: list[str] = []
        while (end := _closing(body, sign)) < 0:
            if self._number >= len(self._lines):
                self._problems.add(where, key, f"a {sign} that is never closed", f"close it with {sign}")
                return ""
            parts.append(body)
            body = self._lines[self._number]
            self._number += 1
        whole = "\n".join([*parts, body[:end]])
        after = body[end + 1 :].strip()
        if after and not after.startswith("#"):
            self._problems.add(where, key, f"{quote(after)} after the closing quote", "put all of it inside the quotes")
        if sign == "'":
            return whole
        unescaped = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), whole, flags=re.DOTALL)
        return interpolate(unescaped, self._variables)


def _closing(body: str, sign: str) -> int:
    at = 0
    while at < len(body):
        if body[at] == "\\" and sign == '"':
            at += 2
            continue
        if body[at] == sign:
            return at
        at += 1
    return -1
