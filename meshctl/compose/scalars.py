"""Single values: text, whole numbers, truth values, durations, sizes. Each tells a problem and gives the default.

Interpolation makes text of everything, so numbers and truth values are read from text, too.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Iterable

from meshctl.compose.cursor import At
from meshctl.compose.problems import quote
from meshctl.compose.tree import BROKEN, Scalar, is_null, kind_of

_TRUTHS = {"true": True, "yes": True, "y": True, "on": True, "false": False, "no": False, "n": False, "off": False}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|m|h))+|0")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_WHOLE = re.compile(r"[-+]?\d{1,18}")
_LARGEST = 2**63 - 1


def text(at: At | None, default: str = "") -> str:
    """The value as it was typed; null is empty."""
    if at is None:
        return default
    if not isinstance(at.node, Scalar):
        at.refuse(f"{kind_of(at.node)} where text belongs", "write one value")
        return default
    return "" if at.node.value is None else at.node.text


def chosen(at: At | None, allowed: Collection[str], default: str) -> str:
    """Text that is one of `allowed`."""
    value = text(at, default)
    if at is None or value in allowed:
        return value
    at.refuse(f"{quote(value)} is not known", "use " + _listed(allowed))
    return default


def truth(at: At | None, default: bool = False) -> bool:
    """A truth value as Compose's users write it: true/false, yes/no, y/n, on/off."""
    if at is None:
        return default
    value = text(at)
    if value.lower() in _TRUTHS:
        return _TRUTHS[value.lower()]
    if isinstance(at.node, Scalar):
        at.refuse(f"{quote(value)} is no truth value", "write true or false")
    return default


def whole(at: At | None, default: int = 0, *, least: int = 0, most: int = _LARGEST) -> int:
    """A whole number between `least` and `most`."""
    if at is None:
        return default
    value = text(at)
    number = at.node.value if isinstance(at.node, Scalar) else None
    if isinstance(number, bool) or not (isinstance(number, int) or _WHOLE.fullmatch(value)):
        if isinstance(at.node, Scalar):
            at.refuse(f"{quote(value)} is no whole number", f"write a number {_range(least, most)}")
        return default
    if re.match(r"[-+]?0\d", value):
        at.refuse(f"{quote(value)} begins with 0, which means octal to some", "write it without the leading 0")
        return default
    result = number if isinstance(number, int) else int(value)
    if not least <= result <= most:
        at.refuse(f"{result} is out of range", f"write a number {_range(least, most)}")
        return default
    return result


def decimal(at: At | None, default: float = 0.0, *, least: float = 0.0, most: float = 1e9) -> float:
    """A number between `least` and `most`, with a decimal point or without."""
    if at is None:
        return default
    value = text(at)
    if not re.fullmatch(r"[-+]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][-+]?\d{1,3})?", value):
        if isinstance(at.node, Scalar):
            at.refuse(f"{quote(value)} is no number", f"write a number {_range(least, most)}")
        return default
    number = float(value)
    if not (math.isfinite(number) and least <= number <= most):
        at.refuse(f"{value} is out of range", f"write a number {_range(least, most)}")
        return default
    return number


def duration(at: At | None, default: float) -> float:
    """Seconds from a duration as 1m30s."""
    if at is None:
        return default
    value = text(at)
    if not _DURATION.fullmatch(value):
        if isinstance(at.node, Scalar):
            remedy = (
                f"write {value}s for seconds" if re.fullmatch(r"\d+(\.\d+)?", value) else "write it as 1m30s or 500ms"
            )
            at.refuse(f"{quote(value)} is no duration", remedy)
        return default
    seconds = math.fsum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(value))
    if seconds >= 1e9:
        at.refuse(f"{quote(value)} is longer than 30 years", "write a shorter one")
        return default
    return round(seconds, 9)


def size(at: At | None, default: int = 0, *, least: int = 0) -> int:
    """Bytes from a size as 64m, 1.5gb, 1024; units are powers of 1024."""
    if at is None:
        return default
    value = text(at)
    match = _SIZE.fullmatch(value)
    if not match:
        if isinstance(at.node, Scalar):
            at.refuse(f"{quote(value)} is no size", "write it as 512k, 64m or 2g")
        return default
    unit = _UNIT_BYTES[match[2].lower()]
    result = int(match[1]) * unit if match[1].isdigit() else int(float(match[1]) * unit)
    if not least <= result <= _LARGEST:
        at.refuse(
            f"{quote(value)} is out of range", f"write at least {least} bytes" if result < least else "write less"
        )
        return default
    return result


def texts(at: At | None) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(_present(item) for item in at.elements()) if at else ()


def text_or_texts(at: At | None) -> tuple[str, ...]:
    """A list of texts, or one text alone."""
    return tuple(_present(item) for item in at.one_or_more()) if at else ()


def words(at: At | None) -> tuple[str, ...] | None:
    """A command: a list as it is, text split as a shell does. None if not given."""
    if at is None or at.is_list:
        return texts(at) if at else None
    line = text(at)
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        at.refuse(f"can't be split into words: {str(error).lower()}", "close the quote, or write a list")
        return None


def pairs(at: At | None, separators: str = "=") -> dict[str, str]:
    """A mapping of texts, or a list of `name=value`; a name alone has an empty value."""
    return {name: text(value) if isinstance(value, At) else value for name, value in entries(at, separators)}


def entries(at: At | None, separators: str = "=") -> Iterable[tuple[str, At | str]]:
    """Names and values of a mapping (as places) or of a list of `name=value` (as texts), checked for empty names."""
    if at is None:
        return
    if not at.is_list:
        yield from at.entries()
        return
    for item in at.elements():
        name, sign, value = split(text(item), separators)
        if not name:
            item.refuse(f"{quote(text(item))} has no name", f"write name{separators[0]}value")
        elif item.node.tag != BROKEN:
            yield name, value if sign else ""


def _present(at: At) -> str:
    if is_null(at.node):
        at.refuse("nothing where text belongs", 'write the text, or "" if it is empty')
    return text(at)


def split(line: str, separators: str) -> tuple[str, str, str]:
    """`line` parted at the first of `separators`: before, the separator (or ""), after."""
    found = re.search(f"[{re.escape(separators)}]", line)
    return (line[: found.start()], found.group(), line[found.end() :]) if found else (line, "", "")


def _listed(allowed: Iterable[str]) -> str:
    names = sorted(allowed)
    return ", ".join(names[:-1]) + (" or " if len(names) > 1 else "") + names[-1]


def _range(least: float, most: float) -> str:
    if most in (_LARGEST, 1e9):
        return f"of at least {least:g}"
    return f"from {least:g} to {most:.0f}"
