"""What a command says when it fails: one line, a hint, an exit code. The only place that turns errors into those.

Exit codes: 2 usage or manifest, 3 unreachable, 4 not found, 5 conflict, 6 refused, 7 timed out, 8 rollout failed,
70 internal, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from schemas.errors import EngineError, EngineUnavailable, ManifestError, MeshError, Refused, Unreachable

INTERNAL = 70
INTERRUPTED = 130


@dataclass(frozen=True)
class Told:
    """What is printed to stderr, and the exit code. `unexpected`: a traceback is worth keeping."""

    line: str
    hint: str = ""
    exit_code: int = INTERNAL
    unexpected: bool = False


def tell(error: BaseException) -> Told:
    """The words and the exit code for any error. Pure."""
    error = _first(error)
    if isinstance(error, ManifestError):
        return Told(error.message, error.hint, error.exit_code)  # a line for each thing that is wrong
    if isinstance(error, EngineError):  # a node's engine said no, or nothing: no fault of Dockmesh
        code = Unreachable.exit_code if isinstance(error, EngineUnavailable) else Refused.exit_code
        return Told(_one_line(error.message) or error.code, error.hint, code)
    if isinstance(error, MeshError):
        return Told(_one_line(error.message) or error.code, error.hint, error.exit_code)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Told("interrupted", exit_code=INTERRUPTED)
    if isinstance(error, click.UsageError):
        return Told(_one_line(_sentence(error.format_message())), _help_of(error), 2)
    if isinstance(error, click.ClickException):
        return Told(_one_line(_sentence(error.format_message())), exit_code=2)
    if isinstance(error, OSError) and error.filename is not None:
        return Told(f"{os.fsdecode(error.filename)}: {error.strerror}", exit_code=2)
    return Told(f"unexpected {type(error).__name__}: {_one_line(str(error)) or 'no message'}", unexpected=True)


def report(error: BaseException, *, debug: bool) -> int:
    """Print what `tell` says to stderr (with the traceback, or where it was written); the exit code."""
    first = _first(error)
    if isinstance(first, BrokenPipeError) or (isinstance(first, OSError) and first.errno == errno.EPIPE):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 0
    told = tell(error)
    hint = told.hint
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    elif told.unexpected:
        hint = _keep_traceback(error)
    if told.exit_code == INTERRUPTED:
        return INTERRUPTED
    click.echo(click.style("error:", fg="red", bold=True) + f" {told.line}", err=True)
    if hint:
        click.echo(click.style("hint:", fg="cyan") + f"  {hint}", err=True)
    return told.exit_code


def _first(error: BaseException) -> BaseException:
    """The error that matters of a group: one that Dockmesh raised on purpose, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, MeshError)), leaves[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    """Click's messages, begun and ended as ours are."""
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _help_of(error: click.UsageError) -> str:
    return f"{error.ctx.command_path} --help" if error.ctx is not None else "meshctl --help"


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file of its own; the hint that says where."""
    from meshctl.contexts import state_directory

    directory = state_directory()
    path = directory / f"crash-{os.getpid()}.txt"
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return "run it again with --debug to see the traceback"
    return f"this is a fault of Dockmesh; the traceback is in {path}"
