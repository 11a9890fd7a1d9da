"""Which mesh is spoken to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bus.credentials import write_credentials
from bus.users import Credentials
from meshctl.contexts import ContextStore, credentials_for, credentials_of_url
from schemas.errors import NotFound, Unreachable, UsageError


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    for name in ("lab", "prod"):
        write_credentials(tmp_path / f"{name}.json", Credentials((f"nats://{name}:4222",), "operator", "word"))
    store = ContextStore(tmp_path / "config")
    store.put("lab", tmp_path / "lab.json", use=True)
    store.put("prod", tmp_path / "prod.json")
    return store


@pytest.mark.parametrize(
    ("flag", "environ", "server"),
    [
        (None, {}, "nats://lab:4222"),
        (None, {"NATS_URL": "nats://url:1"}, "nats://url:1"),
        (None, {"NATS_URL": "nats://url:1", "MESH_CONTEXT": "prod"}, "nats://prod:4222"),
        ("prod", {"MESH_CONTEXT": "lab"}, "nats://prod:4222"),
    ],
)
def test_the_flag_goes_before_the_environment_and_that_before_the_current_one(
    store: ContextStore, flag: str | None, environ: dict[str, str], server: str
) -> None:
    assert credentials_for(flag, environ, store).servers == (server,)


def test_without_any_the_hint_names_the_ways(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as error:
        credentials_for(None, {}, ContextStore(tmp_path))
    assert "meshctl context create" in error.value.hint


def test_an_unknown_context_names_the_nearest(store: ContextStore) -> None:
    with pytest.raises(NotFound) as error:
        store.get("prd")
    assert error.value.hint == "did you mean 'prod'?"


def test_a_name_that_is_no_token_gets_the_spelling_to_use(store: ContextStore) -> None:
    with pytest.raises(UsageError) as error:
        store.put("My Lab", "/x")
    assert error.value.hint == "write it as 'my-lab'"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "contexts.json").write_text("{")
    with pytest.raises(UsageError, match=r"contexts\.json"):
        ContextStore(tmp_path).all()


def test_removing_the_current_one_leaves_none(store: ContextStore) -> None:
    store.remove("lab")
    assert store.current() == ""
    assert list(store.all()) == ["prod"]


def test_nats_url_holds_user_password_and_several_servers() -> None:
    found = credentials_of_url("nats://me:p%40ss@a:1, b")
    assert (found.servers, found.user, found.password) == (("nats://a:1", "nats://b:4222"), "me", "p@ss")
    with pytest.raises(UsageError, match="NATS_URL"):
        credentials_of_url("http://a")


def test_context_commands_create_list_use_and_remove(scripted, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "operator.json"
    write_credentials(file, Credentials(("nats://h:4222",), "operator", "word"))
    assert scripted.run("context", "create", "one", "--credentials", str(file)).out == "one\n"
    assert scripted.run("context", "create", "two", "--server", "nats://x", "--user", "me", "--no-use").code == 0
    assert scripted.run("context", "ls", "--format", "{{.Name}} {{.Servers}} {{.Current}}").out == (
        "one nats://h:4222 true\ntwo nats://x:4222 false\n"
    )
    assert scripted.run("context", "use", "two").code == 0
    assert scripted.run("context", "show").out == "two\n"
    kept = scripted.home / "config" / "dockmesh" / "credentials" / "two.json"
    assert os.stat(kept).st_mode & 0o777 == 0o600
    assert scripted.run("context", "rm", "two").code == 0
    assert scripted.run("context", "use", "two").code == 4
    assert scripted.run("context", "show").code == 4


@pytest.mark.parametrize(
    "arguments", [("x",), ("x", "--credentials", "/nowhere"), ("x", "--credentials", "/n", "--server", "nats://y")]
)
def test_context_create_says_what_is_missing(scripted, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    ran = scripted.run("context", "create", *arguments)
    assert ran.code == 2
    assert "hint: " in ran.err
