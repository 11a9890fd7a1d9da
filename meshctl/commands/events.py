"""`meshctl events`."""

from __future__ import annotations

import json

import click

from meshctl.client import Mesh
from meshctl.commands.options import filter_option, format_option
from meshctl.format.filters import parse_filters
from meshctl.format.template import Template
from meshctl.format.times import parse_moment
from meshctl.session import Session, pass_session
from meshctl.views.events import EVENT_KEYS, event_admitted, event_line, event_row
from meshctl.views.objects import plain
from schemas.errors import UsageError
from schemas.events import Event


@click.command("events")
@click.option("--since", default="", metavar="TIME", help="Begin there: 10m (ago), or 2026-11-23T06:30:00Z.")
@click.option("--until", default="", metavar="TIME", help="End there instead of following.")
@click.option("--cursor", default="", metavar="NAME", help="Go on where this name was left; the mesh keeps the place.")
@filter_option(*EVENT_KEYS)
@format_option
@pass_session
def events_command(session: Session, since: str, until: str, cursor: str, filters: tuple[str, ...], form: str) -> None:
    """Show what happens (and with --since what happened), each event once, until --until or Ctrl-C."""
    wanted = parse_filters(filters, EVENT_KEYS)
    begin = parse_moment(since, "--since", session.now) if since else None
    end = parse_moment(until, "--until", session.now) if until else None
    if begin is not None and end is not None and end < begin:
        raise UsageError("--until lies before --since")
    if end is not None and begin is None:
        begin = 0.0
    template = None if form in ("table", "json", "yaml") else Template(form)

    def text(event: Event) -> str:
        if template is not None:
            return template.render(event_row(event))
        if form == "table":
            return event_line(event, color=session.color)
        return ("---\n" if form == "yaml" else "") + json.dumps(plain(event), ensure_ascii=False)

    async def work(mesh: Mesh) -> None:
        async for event in mesh.events(since=begin, until=end, cursor=cursor):
            if event_admitted(event, wanted):
                click.echo(text(event))

    session.run(work)
