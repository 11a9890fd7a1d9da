"""From the text of a YAML file to a tree: YAML 1.2's core rules, with limits on everything.

`22:22` is text, `yes` is text (fields that want a truth value understand it), anchors, aliases and merge keys work,
duplicate keys are refused, and neither depth nor alias expansion can grow without bound.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import ruamel.yaml
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as RawNode

from meshctl.compose.problems import Problems, quote
from meshctl.compose.tree import BROKEN, OVERRIDE, RESET, Mapping, Node, Plain, Scalar, Sequence, Where

FILE_LIMIT = 2 * 1024 * 1024
"""Bytes of one file."""

NODE_LIMIT = 200_000
"""Values in one document, aliases counted as often as they are used."""

DEPTH_LIMIT = 64

_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {"null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp", "value"}
_MERGE = _TAG + "merge"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WIDTH = 100


def parse(text: str, file: str, problems: Problems) -> Mapping | None:
    """The document in `text`, or None with the problems told."""
    top = Where(file, 1)
    size = len(text.encode("utf-8", "replace"))
    if size > FILE_LIMIT:
        problems.add(
            Where(file, 0), "", f"the file has {size} bytes, more than 2 MiB", "split it into several -c files"
        )
        return None
    raw = _compose(text, file, problems)
    if raw is None:
        if not problems.any:
            problems.add(top, "", "the file is empty", "it needs at least `services:`")
        return None
    try:
        tree = _Builder(file, problems).build(raw, "").node
    except _TooMuch as error:
        problems.add(error.where, "", str(error), "write it out without so many aliases or levels")
        return None
    if not isinstance(tree, Mapping):
        problems.add(tree.where, "", "the document is no mapping", "it needs at least `services:`")
        return None
    return tree


def plain_value(text: str) -> Plain:
    """What an unquoted scalar means by YAML 1.2's core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if len(text) <= 20 and _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text.removeprefix("0o") if base == 8 else text, base)
    if len(text) <= 40 and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _compose(text: str, file: str, problems: Problems) -> RawNode | None:
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    try:
        yaml.composer.warn_double_anchors = False
        raw: RawNode | None = yaml.compose(text)
        return raw
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        column = mark.column if mark else 0
        what, remedy = _explain(str(error.problem or error.context or "not YAML"))
        problems.add(Where(file, line), "", what, remedy, excerpt=_excerpt(text, line, column))
    except RecursionError:
        problems.add(Where(file, 1), "", "values nested too deeply", "write it flatter")
    except (YAMLError, ValueError, TypeError, AttributeError, AssertionError, LookupError) as error:
        # The library raises bare Python errors on some broken input; the first line of each says enough.
        problems.add(Where(file, 1), "", "not YAML: " + (str(error).splitlines() or [""])[0], "")
    return None


def _explain(problem: str) -> tuple[str, str]:
    if "'\\t'" in problem:
        return "not YAML: a tab where spaces belong", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return (
            "not YAML: no `:` may stand here",
            "quote a value that holds `: `; or the line above lacks its `:`",
        )
    if "another document" in problem:
        return "a second document (`---`) in the file", "give each as a file of its own with -c"
    if "undefined alias" in problem:
        return f"not YAML: {problem}", "define it before with `&name`"
    return f"not YAML: {problem}", "check quotes, brackets and indentation here"


def _excerpt(text: str, line: int, column: int) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    if not shown.strip():
        return ""
    start = max(0, column - _WIDTH // 2)
    cut = "".join(c if c.isprintable() else ("→" if c == "\t" else "?") for c in shown[start : start + _WIDTH])
    return f"\n    {cut}\n    {' ' * min(column - start, len(cut))}^"


def values_in(node: Node, known: dict[int, int] | None = None) -> int:
    """How many values a tree holds, shared parts counted as often as they are used."""
    known = {} if known is None else known
    if isinstance(node, Scalar):
        return 1
    if id(node) not in known:
        parts = node.items.values() if isinstance(node, Mapping) else node.items
        known[id(node)] = 1 + sum(values_in(part, known) for part in parts)
    return known[id(node)]


class _TooMuch(Exception):
    def __init__(self, where: Where, what: str) -> None:
        super().__init__(what)
        self.where = where


class _Built(NamedTuple):
    node: Node
    size: int
    """Values in it, aliases expanded."""
    height: int


class _Builder:
    """Turns the library's nodes into ours; shared nodes are built once and counted as often as they are used."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._built: dict[int, _Built] = {}
        self._open: set[int] = set()

    def build(self, raw: RawNode, path: str) -> _Built:
        """Our node for the library's."""
        where = self._where(raw)
        if id(raw) in self._open:
            raise _TooMuch(where, "an alias that holds itself")
        if id(raw) not in self._built:
            self._open.add(id(raw))
            self._built[id(raw)] = self._fresh(raw, path)
            self._open.discard(id(raw))
        built = self._built[id(raw)]
        if built.size > NODE_LIMIT:
            raise _TooMuch(where, f"more than {NODE_LIMIT} values once aliases are expanded")
        if built.height > DEPTH_LIMIT:
            raise _TooMuch(where, f"values nested deeper than {DEPTH_LIMIT} levels")
        return built

    def _where(self, raw: RawNode) -> Where:
        return Where(self._file, raw.start_mark.line + 1 if raw.start_mark else 1)

    def _fresh(self, raw: RawNode, path: str) -> _Built:
        where, tag = self._where(raw), self._tag(raw, path)
        if isinstance(raw, ScalarNode):
            return _Built(self._scalar(raw, where, tag, path), 1, 1)
        if isinstance(raw, SequenceNode):
            built = [self.build(item, f"{path}[{number}]") for number, item in enumerate(raw.value)]
            return _around(Sequence(where, tuple(item.node for item in built), tag), built)
        assert isinstance(raw, MappingNode)
        return self._mapping(raw, where, tag, path)

    def _tag(self, raw: RawNode, path: str) -> str:
        tag = str(raw.tag or "")
        if tag in (RESET, OVERRIDE):
            return tag
        if tag and tag != "!" and tag.removeprefix(_TAG) not in _KNOWN_TAGS:
            self._problems.add(self._where(raw), path, f"the YAML tag {quote(tag)} is not known", "remove it")
            return BROKEN
        return ""

    def _scalar(self, raw: ScalarNode, where: Where, tag: str, path: str) -> Scalar:
        text = str(raw.value)
        if "\0" in text or not is_encodable(text):
            self._problems.add(where, path, "holds a character that text can't have", "remove it")
            return Scalar(where, "", "", BROKEN)
        is_text = raw.style is not None or str(raw.tag or "") == _TAG + "str"
        value = text if is_text else plain_value(text)
        return Scalar(where, value, text.lower() if isinstance(value, bool) else text, tag)

    def _mapping(self, raw: MappingNode, where: Where, tag: str, path: str) -> _Built:
        items: dict[str, Node] = {}
        keys: dict[str, Where] = {}
        merged: list[Mapping] = []
        parts: list[_Built] = []
        for raw_key, raw_value in raw.value:
            if raw_key.tag == _MERGE:
                parts.append(self.build(raw_value, path))
                merged += self._merged(parts[-1].node, path)
                continue
            key = self._key(raw_key, path, keys)
            if key is not None:
                parts.append(self.build(raw_value, f"{path}.{key}" if path else key))
                items[key], keys[key] = parts[-1].node, self._where(raw_key)
        for source in merged:
            for key in [key for key in source.items if key not in items]:
                items[key], keys[key] = source.items[key], source.keys[key]
        return _around(Mapping(where, items, keys, tag), parts)

    def _key(self, raw: RawNode, path: str, keys: dict[str, Where]) -> str | None:
        where = self._where(raw)
        if not isinstance(raw, ScalarNode):
            self._problems.add(where, path, "a key that is no text", "write the key as one word")
            return None
        key = str(raw.value)
        if not key or "\0" in key or not is_encodable(key):
            self._problems.add(where, path, "an empty or unprintable key", "give it a name")
            return None
        if key in keys:
            first = keys[key].line
            full = f"{path}.{key}" if path else key
            self._problems.add(where, full, f"the key is there twice (first in line {first})", "keep one of them")
            return None
        return key

    def _merged(self, node: Node, path: str) -> list[Mapping]:
        sources = node.items if isinstance(node, Sequence) else (node,)
        found = [source for source in sources if isinstance(source, Mapping)]
        if len(found) < len(sources):
            self._problems.add(node.where, path, "`<<` wants a mapping or a list of mappings", "merge an &anchor")
        return found


def _around(node: Node, parts: list[_Built]) -> _Built:
    return _Built(node, 1 + sum(part.size for part in parts), 1 + max((part.height for part in parts), default=0))


def is_encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
