"""The server's configuration and the credentials file."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from blockbuster import BlockingError

from bus.accounts import Cluster, Server, Users, accounts, render_config
from bus.credentials import read_credentials, write_credentials
from bus.users import Credentials
from schemas.errors import NotFound, UsageError

USERS = Users(operator="o", controllers={"1": "c"}, agents={"n1": "a", "n2": 'b"\\{'})


def test_the_control_account_imports_no_stream_from_agents() -> None:
    control = accounts(USERS)["CTRL"]
    assert isinstance(control, dict)
    streams = [each["stream"] for each in control["imports"] if "stream" in each]
    assert streams
    assert {stream["account"] for stream in streams} == {"SYS"}


def test_agents_reach_the_control_account_by_services_alone() -> None:
    every = accounts(USERS)
    agents, control = every["AGENTS"], every["CTRL"]
    assert isinstance(agents, dict)
    assert isinstance(control, dict)
    assert {key for each in agents["exports"] for key in each} == {"service", "response", "accounts"}
    exported = {each["service"] for each in control["exports"] if "service" in each}
    imported = {each["service"]["subject"] for each in agents["imports"] if "service" in each}
    assert imported == exported
    assert not any(subject.startswith("mesh.api") or subject in (">", "mesh.>") for subject in exported)


def test_each_agent_has_permissions_of_its_own() -> None:
    agents = accounts(USERS)["AGENTS"]
    assert isinstance(agents, dict)
    first, second = agents["users"]
    assert (first["user"], second["user"]) == ("agent-n1", "agent-n2")
    assert "mesh.heartbeat.n1" in first["permissions"]["publish"]["allow"]
    assert not any("n1" in subject for subject in second["permissions"]["publish"]["allow"])


def test_what_matters_for_durability_is_always_set() -> None:
    text = render_config(Server("nats-1", "127.0.0.1:4222", "/var/lib/x"), USERS)
    assert 'sync_interval: "always"' in text
    assert "max_payload: 4194304" in text
    assert 'ping_interval: "1s"' in text
    assert "cluster" not in text
    assert "key:" not in text


def test_a_cluster_and_a_key_are_set_when_asked_for() -> None:
    cluster = Cluster("mesh", "10.0.0.1:6222", ("10.0.0.1:6222", "10.0.0.2:6222"), "word")
    server = Server("nats-1", "10.0.0.1:4222", "/x", cluster, encryption_key="secret", monitor="127.0.0.1:8222")
    text = render_config(server, USERS)
    assert '"nats://route:word@10.0.0.2:6222"' in text
    assert 'key: "secret"' in text
    assert 'http: "127.0.0.1:8222"' in text


def test_passwords_are_not_shown_in_representations() -> None:
    assert "secret" not in repr(Users(operator="secret", controllers={"1": "secret"}))
    assert "secret" not in repr(Credentials(("x",), "u", "secret"))


def test_credentials_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "credentials.json"
    written = Credentials(("nats://10.0.0.1:4222", "nats://10.0.0.2:4222"), "agent-n1", "word")
    write_credentials(path, written)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_credentials(path) == written
    assert read_credentials(path, "my name").name == "my name"
    write_credentials(path, Credentials(("nats://other",), "u", "p"))
    assert read_credentials(path).servers == ("nats://other",)


def test_a_missing_credentials_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no credentials file"):
        read_credentials(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"servers": "x"}', '{"servers": []}', "\xff"])
def test_a_broken_credentials_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError):
        read_credentials(path)


async def test_reading_a_file_in_the_loop_is_noticed(tmp_path: Path) -> None:
    """The guard that every async test stands under."""
    path = tmp_path / "credentials.json"
    write_before = Credentials(("nats://10.0.0.1:4222",))
    await asyncio.to_thread(write_credentials, path, write_before)
    with pytest.raises(BlockingError):
        read_credentials(path)
    assert await asyncio.to_thread(read_credentials, path) == write_before
