"""Where texts come from: files, standard input, `.env` beside the first file. The only module here that does I/O."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from meshctl.compose.yamltext import FILE_LIMIT
from schemas.errors import ManifestError

STDIN = "-"


@dataclass(frozen=True, slots=True)
class ComposeSource:
    """One Compose file: the name that errors show, its text, and the directory that relative paths begin in."""

    name: str
    text: str
    directory: str = ""
    """Absolute; "" for standard input."""


def read_source(path: str, stdin: BinaryIO | None = None) -> ComposeSource:
    """The file at `path`, or standard input for "-".

    Raises:
        ManifestError: it can't be read, is larger than 2 MiB, or is not UTF-8.
    """
    if path == STDIN:
        return ComposeSource("<stdin>", _decode((stdin or sys.stdin.buffer).read(FILE_LIMIT + 1), "<stdin>"))
    text = Disk().read(path)
    if text is None:
        raise ManifestError(f"{path}: there is no such file — name one with -c")
    return ComposeSource(path, text, str(Path(path).resolve().parent))


class Disk:
    """This machine's files (`meshctl.compose.project.Files`)."""

    def read(self, path: str) -> str | None:
        """The text of the file or pipe; None if there is none. Raises ManifestError if it can't be read."""
        try:
            with Path(path).open("rb") as file:
                return _decode(file.read(FILE_LIMIT + 1), path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ManifestError(f"{path}: can't be read: {why}") from error


def _decode(content: bytes, name: str) -> str:
    if len(content) > FILE_LIMIT:
        raise ManifestError(f"{name}: the file has more than 2 MiB — split it into several -c files")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"{name}:{line}: the text is not UTF-8 — save it as UTF-8") from error
