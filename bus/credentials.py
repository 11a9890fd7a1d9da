"""The credentials file: JSON {"servers": [...], "user": ..., "password": ...}, readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bus.users import Credentials
from schemas.errors import NotFound, UsageError
from schemas.wire import UNDECODABLE


class CredentialsFile(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the file."""

    servers: tuple[str, ...]
    user: str = ""
    password: str = ""


def read_credentials(path: Path, name: str = "") -> Credentials:
    """The credentials in `path`; `name` is what the connection calls itself.

    Raises:
        NotFound: there is no such file.
        UsageError: it can't be read, or is no credentials file; the text says where.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=CredentialsFile)
    except FileNotFoundError:
        raise NotFound(f"no credentials file {path}") from None
    except OSError as error:
        raise UsageError(f"can't read the credentials file {path}: {error.strerror}") from error
    except UNDECODABLE as error:
        raise UsageError(f"{path} is no credentials file: {error}") from error
    if not content.servers:
        raise UsageError(f"{path} names no servers")
    return Credentials(servers=content.servers, user=content.user, password=content.password, name=name)


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Write the file with mode 0600, replacing an older one at once. Raises OSError."""
    content = CredentialsFile(servers=credentials.servers, user=credentials.user, password=credentials.password)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    fresh.replace(path)
