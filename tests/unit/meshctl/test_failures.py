"""One line, a hint, an exit code: for every error there can be."""

from __future__ import annotations

import click
import pytest

from meshctl import main as main_module
from meshctl.failure import report, tell
from schemas import errors


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (errors.UsageError("bad flag", hint="good flag"), "bad flag", 2),
        (errors.ManifestError("c.yaml:3: no\nc.yaml:4: neither"), "c.yaml:3: no\nc.yaml:4: neither", 2),
        (errors.BadMessage("not a TaskList"), "not a TaskList", 2),
        (errors.Unreachable("nobody"), "nobody", 3),
        (errors.NotFound("no such"), "no such", 4),
        (errors.Conflict("taken"), "taken", 5),
        (errors.Refused("no\nway"), "no way", 6),
        (errors.StoreMissing("no stream"), "no stream", 6),
        (errors.TimedOut("late"), "late", 7),
        (errors.RolloutFailed("broken"), "broken", 8),
        (errors.ImageUnavailable("no image"), "no image", 6),
        (errors.EngineUnavailable("engine away"), "engine away", 3),
        (errors.Internal("a peer fell"), "a peer fell", 70),
        (KeyboardInterrupt(), "interrupted", 130),
        (click.Abort(), "interrupted", 130),
        (click.UsageError("No such option: --x"), "no such option: --x", 2),
        (click.BadParameter("nope"), "invalid value: nope", 2),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x: Permission denied", 2),
        (ValueError("odd\nthing"), "unexpected ValueError: odd thing", 70),
        (RuntimeError(), "unexpected RuntimeError: no message", 70),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_code(error: BaseException, line: str, code: int) -> None:
    told = tell(error)
    assert (told.line, told.exit_code) == (line, code)


def test_of_a_group_the_error_that_was_raised_on_purpose_is_told() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("inner", [ValueError("x"), errors.NotFound("that")])])
    assert tell(group).exit_code == 4


def test_every_class_of_the_error_tree_has_words() -> None:
    for kind in (errors.MeshError, *errors._walk(errors.MeshError)):
        told = tell(kind("what happened"))
        assert told.line == "what happened"
        assert told.exit_code in (2, 3, 4, 5, 6, 7, 8, 70)


def test_an_unexpected_error_leaves_its_traceback_in_a_file(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert report(ZeroDivisionError("1/0"), debug=False) == 70
    said = capsys.readouterr().err
    (written,) = (tmp_path / "dockmesh").iterdir()
    assert str(written) in said
    assert "ZeroDivisionError" in written.read_text()
    assert "Traceback" not in said


def test_with_debug_the_traceback_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("1/0"), debug=True) == 70
    assert "ZeroDivisionError: 1/0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["stak"], "meshctl has no command 'stak'; did you mean 'stack'?", 2),
        (["deploy"], "meshctl has no command 'deploy'; did you mean 'meshctl stack deploy'?", 2),
        (["stack", "down"], "meshctl stack has no command 'down'; did you mean 'rm'?", 2),
        (["service", "pss"], "meshctl service has no command 'pss'; did you mean 'ps'?", 2),
        (["--nope"], "no such option", 2),
        (["service", "ls", "--nope"], "no such option", 2),
        (["node", "inspect"], "missing argument 'NODE...'", 2),
        (["status"], "no mesh is chosen", 3),
        (["--context", "nowhere", "status"], "there is no context 'nowhere'", 4),
        (["stack", "deploy", "-c", "/nowhere.yaml", "x"], "/nowhere.yaml: there is no such file", 2),
    ],
)
def test_a_mistyped_command_line_says_what_and_what_to_do(
    arguments: list[str],
    said: str,
    code: int,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("MESH_CONTEXT", "NATS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main_module.main(arguments) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
