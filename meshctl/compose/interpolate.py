"""`$VAR`, `${VAR}` and their forms with defaults, in every value of a file.

`${V:-d}` `${V-d}` default · `${V:?e}` `${V?e}` demand · `${V:+r}` `${V+r}` replacement · `$$` a dollar sign. With the
colon an empty value counts as unset. Words may hold variables again. Keys and `x-` extensions are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Variables

from meshctl.compose.problems import Problems, quote
from meshctl.compose.tree import BROKEN, Mapping, Node, Scalar, Sequence, Where, is_extension

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Characters that all values of one file may have after interpolation."""

_NEST_LIMIT = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FREE_NAMES = ("services", "volumes", "environment", "labels", "options", "driver_opts", "sysctls", "extra_hosts")
"""Under these a key that begins with `x-` is a name like any other."""
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


class BadInterpolation(ValueError):
    """Text that can't be interpolated; `args` are what is wrong and the remedy."""


def interpolate(text: str, variables: Variables[str, str], unset: Callable[[str], None] | None = None) -> str:
    """`text` with its variables put in. `unset` hears of each name that has no value and no default.

    Raises:
        BadInterpolation: the syntax is wrong, or a demanded variable is not set.
    """
    return _Expansion(text, variables, unset or (lambda _: None)).run()


def interpolate_tree(tree: Mapping, variables: Variables[str, str], problems: Problems) -> Mapping:
    """The document with all values interpolated; problems and unset variables are told with their lines."""
    return _Walk(variables, problems).mapping(tree, "")


class _Walk:
    def __init__(self, variables: Variables[str, str], problems: Problems) -> None:
        self._variables = variables
        self._problems = problems
        self._unset: set[str] = set()
        self._spent = 0

    def mapping(self, node: Mapping, path: str) -> Mapping:
        items = {
            key: value if _is_note(key, path) else self._node(value, f"{path}.{key}" if path else key)
            for key, value in node.items.items()
        }
        return Mapping(node.where, items, node.keys, node.tag)

    def _node(self, node: Node, path: str) -> Node:
        if isinstance(node, Mapping):
            return self.mapping(node, path)
        if isinstance(node, Sequence):
            items = tuple(self._node(item, f"{path}[{number}]") for number, item in enumerate(node.items))
            return Sequence(node.where, items, node.tag)
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        return self._scalar(node, node.value, path)

    def _scalar(self, node: Scalar, text: str, path: str) -> Scalar:
        try:
            value = interpolate(text, self._variables, lambda name: self._missing(name, node.where, path))
        except BadInterpolation as error:
            what, remedy = error.args
            self._problems.add(node.where, path, what, remedy)
            return Scalar(node.where, "", "", BROKEN)
        self._spent += len(value)
        if self._spent > OUTPUT_LIMIT:
            self._problems.add(
                Where(node.where.file, 0), "", "variables make the file larger than 8 MiB", "shorten them"
            )
            return Scalar(node.where, "", "", BROKEN)
        return Scalar(node.where, value, value, node.tag)

    def _missing(self, name: str, where: Where, path: str) -> None:
        if name not in self._unset:
            self._unset.add(name)
            self._problems.warn(
                where,
                path,
                f"the variable {name} is not set and counts as empty",
                f"set it, or write ${{{name}:-}} if that is meant",
            )


def _is_note(key: str, path: str) -> bool:
    return is_extension(key) and path.rpartition(".")[2] not in _FREE_NAMES


class _Expansion:
    """One run over one text, by recursive descent."""

    def __init__(self, text: str, variables: Variables[str, str], unset: Callable[[str], None]) -> None:
        self._text = text
        self._variables = variables
        self._unset = unset
        self._at = 0
        self._grown = 0

    def run(self) -> str:
        return self._until_end(0, live=True)

    def _until_end(self, depth: int, *, live: bool) -> str:
        """Expand up to the end of the text, or of the braces at `depth` > 0. Not `live`: nothing is demanded."""
        if depth > _NEST_LIMIT:
            raise BadInterpolation(f"variables nested deeper than {_NEST_LIMIT} levels", "write it flatter")
        out: list[str] = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            if depth and letter == "}":
                return "".join(out)
            if letter == "$":
                out.append(self._dollar(depth, live=live))
            else:
                stop = self._at + 1
                while stop < len(self._text) and self._text[stop] != "$" and not (depth and self._text[stop] == "}"):
                    stop += 1
                out.append(self._text[self._at : stop])
                self._at = stop
        if depth:
            raise BadInterpolation(
                f"`${{` without its `}}` in {quote(self._text)}", "close it, or write $$ for a dollar"
            )
        return "".join(out)

    def _dollar(self, depth: int, *, live: bool) -> str:
        self._at += 1
        following = self._text[self._at : self._at + 1]
        if following == "$":
            self._at += 1
            return "$"
        if following == "{":
            self._at += 1
            return self._braced(depth, live=live)
        return self._value(self._name(), live=live)

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            raise BadInterpolation(
                f"`$` without a variable's name in {quote(self._text)}", "write $$ for a dollar sign"
            )
        self._at = found.end()
        return found.group()

    def _value(self, name: str, *, live: bool) -> str:
        if name in self._variables:
            self._grown += len(self._variables[name])
            if self._grown > OUTPUT_LIMIT:
                raise BadInterpolation("variables make the value larger than 8 MiB", "shorten them")
            return self._variables[name]
        if live:
            self._unset(name)
        return ""

    def _braced(self, depth: int, *, live: bool) -> str:
        name = self._name()
        operator = next((sign for sign in _OPERATORS if self._text.startswith(sign, self._at)), "")
        self._at += len(operator)
        if not operator:
            self._close()
            return self._value(name, live=live)
        present = name in self._variables and not (operator[0] == ":" and not self._variables[name])
        wanted = live and (present if operator[-1] == "+" else not present)
        word = self._until_end(depth + 1, live=wanted)
        self._close()
        if operator[-1] == "+":
            return word if present else ""
        if present:
            return self._value(name, live=live)
        if operator[-1] == "?" and live:
            raise BadInterpolation(f"the variable {name} must be set" + (f": {word}" if word else ""), f"set {name}")
        return word

    def _close(self) -> None:
        if self._text[self._at : self._at + 1] != "}":
            rest = quote(self._text[self._at :])
            raise BadInterpolation(
                f"{rest} can't follow a variable's name in `${{`", "use :- - :? ? :+ + or close it with }"
            )
        self._at += 1
