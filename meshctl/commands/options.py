"""Options that many commands share, each defined once, and how their output is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from meshctl.format.output import Listing, Style, check_form, render_listing, render_objects
from meshctl.session import Session
from schemas.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIMEOUT = "10m"


def listing_options(command: F) -> F:
    """--format, -q, --no-trunc: of everything that lists."""
    command = click.option("--no-trunc", is_flag=True, help="Do not truncate output.")(command)
    command = click.option("-q", "--quiet", is_flag=True, help="Only display names or ids.")(command)
    return format_option(command)


def format_option(command: F) -> F:
    """--format."""
    text = "table, json, yaml, or a template: '{{.Name}}', '{{json .}}', 'table {{.Name}}\\t{{.Image}}'."
    check = _checked_form
    return click.option("--format", "form", default="table", metavar="FORMAT", callback=check, help=text)(command)


def _checked_form(_context: click.Context, _option: click.Parameter, form: str) -> str:
    """Refuse a template that can't be meant before anybody is asked."""
    check_form(form)
    return form


def filter_option(*keys: str) -> Callable[[F], F]:
    """-f/--filter key=value, several times."""
    text = f"Only what matches KEY=VALUE ({', '.join(keys)}); may be given several times."
    return click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help=text)


def wait_options(command: F) -> F:
    """-d/--detach, --timeout: of everything that changes what runs."""
    text = "How long to wait until it runs; then exit with 7, telling why."
    command = click.option("--timeout", default=DEFAULT_TIMEOUT, show_default=True, metavar="DURATION", help=text)(
        command
    )
    return click.option("-d", "--detach", is_flag=True, help="Exit at once instead of waiting until it runs.")(command)


def print_listing(session: Session, listing: Listing, form: str, quiet: bool, no_trunc: bool) -> None:
    """Print a listing as the options want it."""
    style = Style(form=form, quiet=quiet, no_trunc=no_trunc, color=session.color, width=session.width)
    text = render_listing(listing, style)
    if text:
        click.echo(text)


def print_objects(values: list[Any], form: str) -> None:
    """Print what `inspect` shows."""
    click.echo(render_objects(values, Style(form="json" if form == "table" else form)))


def revision_pair(text: str, example: str) -> tuple[int, int]:
    """The two numbers of `A..B`. Raises UsageError, with an `example` of the command."""
    first, dots, second = text.partition("..")
    if not (dots and first.isdigit() and second.isdigit()):
        raise UsageError(f"'{text}' is not A..B", hint=f"e.g. {example} 3..4")
    return int(first), int(second)
