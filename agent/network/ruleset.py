"""What there is of nftables, asked without listing it: the generation of the whole, and which rules a table has.

Listing a table costs seconds with 50,000 elements in its maps, also where they are not shown. Its rules' numbers are
asked for in 30 microseconds: a rule that was removed, replaced or added has another number.
"""

from __future__ import annotations

import socket

from agent.network.messages import DUMP, REQUEST, attributes, message, messages, text, text_attribute
from schemas.errors import EngineError

NETLINK_NETFILTER = 12
NFTABLES = 10 << 8
GET_GENERATION, GET_RULE, NEW_RULE, DONE, ERROR = NFTABLES | 16, NFTABLES | 7, NFTABLES | 6, 3, 2
IPV4 = bytes([2, 0, 0, 0])
"""nfgenmsg."""
GENERATION_NUMBER = 1
RULE_TABLE, RULE_CHAIN, RULE_HANDLE = 1, 2, 3

Rule = tuple[str, int]
"""Chain and number."""


class Ruleset:
    """One socket, opened with the first question. All calls raise EngineError."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def generation(self) -> int:
        """Rises with each transaction of anybody."""
        (_, body), *_ = messages(self._ask(message(GET_GENERATION, REQUEST, IPV4)))
        return int.from_bytes(attributes(body, len(IPV4))[GENERATION_NUMBER], "big")

    def rules(self, table: str) -> frozenset[Rule]:
        """The rules of an `ip` table; none if there is no such table."""
        found: set[Rule] = set()
        data = self._ask(message(GET_RULE, REQUEST | DUMP, IPV4 + text_attribute(RULE_TABLE, table)))
        while True:
            for kind, body in messages(data):
                if kind in (DONE, ERROR):
                    return frozenset(found)
                told = attributes(body, len(IPV4))
                if kind == NEW_RULE and text(told[RULE_TABLE]) == table:
                    found.add((text(told[RULE_CHAIN]), int.from_bytes(told[RULE_HANDLE], "big")))
            data = self._receive()

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, question: bytes) -> bytes:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
                self._socket.setblocking(False)  # the kernel has answered by the time that it took the question
            self._socket.send(question)
        except OSError as error:
            raise self._failed(error) from error
        return self._receive()

    def _receive(self) -> bytes:
        assert self._socket is not None, "it was asked"
        try:
            return self._socket.recv(1 << 16)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> EngineError:
        self.close()
        return EngineError(f"nftables can't be asked: {error.strerror or error}")
