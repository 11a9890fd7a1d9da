"""Ports as people write them: `8080:80`, `8101-8102:80-81`, `8000-8010:80`. Pure; told in the words of whoever asks.

Ranges of one length pair up: each port is published by itself. A range before one target gives a choice: a free one of
it is published.
"""

from __future__ import annotations

from schemas.ports import span

RANGE_LIMIT = 256
"""Ports that one entry may publish. A choice is one port, however long its range is."""

FORMS = "`8080:80`, `8080:80/udp`, `8101-8102:80-81`, or `8000-8010:80` for a free one of the range"


class NoPorts(ValueError):
    """What is wrong with ports, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def port_range(text: str) -> range:
    """The ports of `80` or `8000-8010`. Raises NoPorts."""
    first, dash, last = text.strip().partition("-")
    ends = [first, last] if dash else [first]
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise NoPorts("no port and no range of ports", "write it as 8080, or as 8000-8010")
    for end in ends:
        if len(end) > 5 or not 1 <= int(end) <= 65535:
            raise NoPorts(f"port {end[:20]} is out of range", "write a number from 1 to 65535")
    if int(ends[-1]) < int(first):
        raise NoPorts(f"{first}-{last} ends before it begins", f"write {last}-{first}")
    return range(int(first), int(ends[-1]) + 1)


def paired(published: str, target: str) -> list[tuple[range, int]]:
    """What one entry publishes: the choices (none: any port) and the target of each port. Raises NoPorts."""
    targets = port_range(target)
    if len(targets) > RANGE_LIMIT:
        raise NoPorts(
            f"{len(targets)} ports in one entry, which may have {RANGE_LIMIT}", "publish them by several entries"
        )
    if not published:
        return [(range(0), number) for number in targets]
    choices = port_range(published)
    if len(targets) == 1:
        return [(choices, targets[0])]
    if len(choices) != len(targets):
        raise NoPorts(
            f"{len(choices)} port{'s' if len(choices) > 1 else ''} ({span(choices)}) published "
            f"for {len(targets)} targets ({span(targets)})",
            "give as many as targets, or one target for a free one of the range",
        )
    return [(range(number, number + 1), each) for number, each in zip(choices, targets, strict=True)]


def ends(choices: range) -> tuple[int, int]:
    """`published` and `published_last` of a port."""
    return (choices[0], choices[-1] if len(choices) > 1 else 0) if choices else (0, 0)
