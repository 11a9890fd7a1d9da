"""Contexts: names for meshes, each the path of a credentials file. And how the mesh of a command is chosen.

Kept in `$XDG_CONFIG_HOME/dockmesh/contexts.json` (name -> {"credentials": path}); the file `current` beside it holds
the name of the one in use.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bus.users import Credentials
from schemas.errors import NotFound, Unreachable, UsageError
from schemas.subjects import is_token, suggest_token
from schemas.wire import Wire, decode, encode


class Context(Wire, frozen=True, kw_only=True):
    """One mesh: where its credentials file lies."""

    credentials: str
    description: str = ""


class ContextStore:
    """The contexts in one directory. Writes replace the whole file at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "contexts.json"
        self._current = directory / "current"

    def all(self) -> dict[str, Context]:
        """Every context by name. Raises UsageError on a damaged file."""
        try:
            return decode(self._file.read_bytes(), dict[str, Context])
        except FileNotFoundError:
            return {}
        except UsageError as error:
            raise UsageError(
                f"{self._file}: {error.message}", hint="repair the file, or remove it to start anew"
            ) from error

    def current(self) -> str:
        """The name in use; "" if there is none."""
        try:
            return self._current.read_text().strip()
        except FileNotFoundError:
            return ""

    def get(self, name: str) -> Context:
        """The context of that name. Raises NotFound, naming the nearest."""
        known = self.all()
        if name in known:
            return known[name]
        near = get_close_matches(name, list(known), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "meshctl context ls shows those there are"
        raise NotFound(f"there is no context '{name}'", hint=hint)

    def put(self, name: str, credentials: Path | str, *, use: bool = False, description: str = "") -> None:
        """Keep a context (replacing one of that name); `use`: it becomes the current one."""
        if not is_token(name):
            raise UsageError(f"'{name}' can't name a context", hint=f"write it as '{suggest_token(name) or 'my-mesh'}'")
        path = str(Path(credentials).absolute())
        self._write(self._file, encode({**self.all(), name: Context(credentials=path, description=description)}))
        if use:
            self.use(name)

    def use(self, name: str) -> None:
        """Make it the current one. Raises NotFound."""
        self.get(name)
        self._write(self._current, name.encode() + b"\n")

    def remove(self, name: str) -> None:
        """Forget it (its credentials file stays). Raises NotFound."""
        self.get(name)
        self._write(self._file, encode({key: value for key, value in self.all().items() if key != name}))
        if self.current() == name:
            self._current.unlink(missing_ok=True)

    def _write(self, path: Path, data: bytes) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        fresh.write_bytes(data)
        fresh.replace(path)


def config_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where contexts are kept: $XDG_CONFIG_HOME/dockmesh, by default ~/.config/dockmesh."""
    base = environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "dockmesh"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where meshctl keeps what is no setting: $XDG_STATE_HOME/dockmesh, by default ~/.local/state/dockmesh."""
    base = environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "state") / "dockmesh"


def user_contexts(environ: Mapping[str, str] = os.environ) -> ContextStore:
    """This user's contexts."""
    return ContextStore(config_directory(environ))


def chosen(flag: str | None, environ: Mapping[str, str], store: ContextStore) -> str:
    """The name of the context that a command uses: --context, MESH_CONTEXT, else the current one; "" if none.

    NATS_URL stands between MESH_CONTEXT and the current one and has no name: "" then, too.
    """
    named = flag or environ.get("MESH_CONTEXT", "")
    if named or environ.get("NATS_URL"):
        return named
    return store.current()


def credentials_for(flag: str | None, environ: Mapping[str, str], store: ContextStore) -> Credentials:
    """How to connect to the mesh that was chosen. Raises NotFound, UsageError or Unreachable (nothing is chosen)."""
    from bus.credentials import read_credentials

    name = chosen(flag, environ, store)
    if name:
        return read_credentials(Path(store.get(name).credentials))
    if environ.get("NATS_URL"):
        return credentials_of_url(environ["NATS_URL"])
    raise Unreachable(
        "no mesh is chosen",
        hint="meshctl context create NAME --credentials FILE, meshctl dev, or sudo meshctl lab up",
    )


def credentials_of_url(text: str) -> Credentials:
    """Credentials from NATS_URL: nats://[user:password@]host[:port][,nats://...]. Raises UsageError."""
    servers, user, password = [], "", ""
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        url = urlsplit(part if "://" in part else f"nats://{part}")
        if url.scheme not in ("nats", "tls", "ws", "wss") or not url.hostname:
            raise UsageError(f"NATS_URL: '{part}' is no address of a NATS server", hint="write nats://host:4222")
        user, password = unquote(url.username or user), unquote(url.password or password)
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        servers.append(f"{url.scheme}://{host}:{url.port or 4222}")
    return Credentials(servers=tuple(servers), user=user, password=password, name="meshctl")
