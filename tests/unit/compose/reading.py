"""Reads Compose texts as if they were files, without a disk."""

from __future__ import annotations

import textwrap
from typing import Any

from meshctl.compose.load import LoadedStack, load_stack
from meshctl.compose.sources import ComposeSource

HOME = {"HOME": "/home/ann", "FROM_SHELL": "shell"}


class Shelf:
    """Files for the reader, without a disk."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self._files = files or {}

    def read(self, path: str) -> str | None:
        return self._files.get(path)


FILES = {"/project/a.env": "A=file\nB='$X' # note\n", "/project/raw.env": 'A="quoted"\n'}


def load(text: str, *more: str, files: dict[str, str] | None = None, **options: Any) -> LoadedStack:
    """The stack of one or several texts, as if they stood in /project."""
    names = ["stack.yaml", *(f"more{number}.yaml" for number in range(1, len(more) + 1))]
    sources = [ComposeSource(name, body, "/project") for name, body in zip(names, (text, *more), strict=True)]
    options = {"stack": "demo", "environment": HOME, "project_dir": "/project"} | options
    return load_stack(sources, disk=Shelf(FILES if files is None else files), **options)


def service_text(body: str, image: str = "image: app\n", top: str = "") -> str:
    """A file with one service `web`."""
    inner = textwrap.indent(image + textwrap.dedent(body), "    ")
    return f"services:\n  web:\n{inner}\n{top}"
