"""Backups on disk: written whole or not at all, for their owner's eyes only."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.backup import Backup, BadBackup, read_backup, write_backup

MODE = 0o600


def save_backup(path: Path, backup: Backup) -> None:
    """Write it to `path`, replacing what is there. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(write_backup(backup))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load_backup(path: Path) -> Backup:
    """Read and check it. Raises OSError; BadBackup, naming the file."""
    try:
        return read_backup(path.read_bytes())
    except BadBackup as error:
        raise BadBackup(f"{path}: {error.message}", hint=error.hint) from error
