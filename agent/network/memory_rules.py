"""The table of the machine in memory: takes what `rules.py` writes as nft would, and shows what it holds.

As in the kernel a text is one transaction; removing what is not there, adding a key with another value and going to
a chain that does not exist fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agent.network.rules import TABLE
from schemas.errors import EngineError

_ELEMENTS = re.compile(rf"(add|delete) element ip {TABLE} (\w+) {{ (.*) }}")
_CHAIN = re.compile(rf"add chain ip {TABLE} (\w+)")
_WHOLE = f"delete table ip {TABLE}"


@dataclass
class MemoryTable:
    """What stands in the table."""

    there: bool = False
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    """Map or set -> key -> value ("" in a set)."""
    chains: set[str] = field(default_factory=set)

    def load(self, text: str) -> None:
        """One transaction. Raises EngineError, and then nothing has changed."""
        new = MemoryTable(self.there, {name: dict(each) for name, each in self.maps.items()}, set(self.chains))
        for line in text.splitlines():
            new._line(line.strip())
        self.there, self.maps, self.chains = new.there, new.maps, new.chains

    def _line(self, line: str) -> None:
        if line == _WHOLE:
            self.there, self.maps, self.chains = False, {}, set()
        elif line.startswith(f"table ip {TABLE} {{") and not line.endswith("{}"):
            self.there = True
        elif match := _CHAIN.fullmatch(line):
            self.chains.add(match[1])
        elif match := _ELEMENTS.fullmatch(line):
            if not self.there:
                raise EngineError(f"nft: no table {TABLE}: {line}")
            for element in match[3].split(", "):
                self._element(match[1], match[2], element)

    def _element(self, verb: str, name: str, element: str) -> None:
        held = self.maps.setdefault(name, {})
        key, _, value = element.partition(" : ")
        if verb == "delete":
            if held.pop(key, None) is None:
                raise EngineError(f"nft: {name} has no {key}")
            return
        if held.get(key, value) != value:
            raise EngineError(f"nft: {name} has {key} already, as {held[key]}")
        if value.startswith("goto ") and value.removeprefix("goto ") not in self.chains:
            raise EngineError(f"nft: no chain {value.removeprefix('goto ')}")
        held[key] = value

    def backends(self, kind: str = "backends") -> dict[str, set[str]]:
        """Virtual address -> where it leads (`kind` "tcp_backends", "udp_backends": published port -> address)."""
        found: dict[str, set[str]] = {}
        for key, value in self.maps.get(kind, {}).items():
            found.setdefault(key.split(" . ")[0], set()).add(value.split(" . ")[0])
        return found

    def destinations(self) -> set[str]:
        """All addresses that something may be sent on to."""
        kinds = ("backends", "tcp_backends", "udp_backends")
        return {address for kind in kinds for each in self.backends(kind).values() for address in each}
