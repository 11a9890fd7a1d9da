"""What the kernel, or the way to it, refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from agent.network.netlink import Netlink
from schemas.errors import EngineError


@pytest.mark.parametrize(
    "refusal",
    [
        OSError("illegal IP address string passed to inet_pton"),
        ValueError("no address"),
        NetlinkError(97, "Address family not supported by protocol"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_an_address_that_is_none_is_the_rooms_own_error(refusal: Exception) -> None:
    async def fdb(*_: Any, **__: Any) -> None:
        raise refusal

    async def link_lookup(**_: Any) -> list[int]:
        return [7]

    netlink = Netlink()
    netlink._socket = SimpleNamespace(fdb=fdb, link_lookup=link_lookup, close=lambda: None)
    with pytest.raises(EngineError, match="vx-m1000: nonsense: "):
        await netlink.set_peer("vx-m1000", "nonsense", present=True)
