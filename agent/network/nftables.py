"""nftables by libnftables: what `nft` itself is a thin shell of, in this process and with one socket that stays open.

A program of its own costs 10 to 25 ms a change, most of them at its end: when its socket closes the kernel waits until
no CPU can see any more what the change removed. Here one change takes 2 to 8 ms (benchmarks/network.py). The texts, the
parser and the messages are the same. Where the library can't be loaded the program is run.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

import structlog

LIBRARY = "libnftables.so.1"

Run = Callable[[str], Awaitable[tuple[int, str]]]
"""nft's text -> its exit code and what it said."""

log = structlog.get_logger()


class Library(Protocol):
    """What is used of libnftables(3). A context is for one thread at a time."""

    def nft_ctx_new(self, flags: int) -> int | None: ...
    def nft_ctx_free(self, context: int) -> None: ...
    def nft_ctx_buffer_output(self, context: int) -> int: ...
    def nft_ctx_buffer_error(self, context: int) -> int: ...
    def nft_ctx_get_output_buffer(self, context: int) -> bytes: ...
    def nft_ctx_get_error_buffer(self, context: int) -> bytes: ...
    def nft_run_cmd_from_buffer(self, context: int, text: bytes) -> int: ...


class Nftables:
    """One context in one thread of its own, made with the first call."""

    def __init__(self, program: Run, library: str = LIBRARY) -> None:
        """`program`: runs `nft -f -`, where there is no library."""
        self._program = program
        self._name = library
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nftables")
        self._library: Library | None = None
        self._context: int | None = None
        self._missing = False

    async def run(self, text: str) -> tuple[int, str]:
        """One transaction, or a question: 0 or another exit code, and what nft says of it."""
        loop = asyncio.get_running_loop()
        if not self._missing:
            done = await loop.run_in_executor(self._thread, self._run, text)
            if done is not None:
                return done
            self._missing = True
            log.warning("nftables.program_used", why=f"{self._name} can't be loaded")
        return await self._program(text)

    async def close(self) -> None:
        """Let go of the socket."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    def _run(self, text: str) -> tuple[int, str] | None:
        if self._library is None:
            self._library = loaded(self._name)
        if self._library is None:
            return None
        if self._context is None:
            self._context = _opened(self._library)
        if self._context is None:
            return None
        code = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        said = self._library.nft_ctx_get_output_buffer(self._context)
        wrong = self._library.nft_ctx_get_error_buffer(self._context)
        return abs(code), (said + wrong).decode(errors="replace").strip()

    def _close(self) -> None:
        if self._library is not None and self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None


def loaded(name: str) -> Library | None:
    """The library with the types of its functions; None: there is none."""
    try:
        library = ctypes.CDLL(name)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for function in (library.nft_ctx_free, library.nft_ctx_buffer_output, library.nft_ctx_buffer_error):
            function.argtypes = [ctypes.c_void_p]
        library.nft_ctx_free.restype = None
        for function in (library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer):
            function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    except (OSError, AttributeError):
        return None
    return cast("Library", library)


def _opened(library: Library) -> int | None:
    context = library.nft_ctx_new(0)
    if context is not None and (library.nft_ctx_buffer_output(context) or library.nft_ctx_buffer_error(context)):
        library.nft_ctx_free(context)
        return None
    return context
