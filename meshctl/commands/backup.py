"""`meshctl backup FILE`, `meshctl backup verify FILE`, `meshctl restore FILE`, `meshctl state recover`."""

from __future__ import annotations

from pathlib import Path

import click

from meshctl.backup import Checked, check_backup, take_backup, written_meanwhile
from meshctl.backupfile import load_backup, save_backup
from meshctl.client import Mesh
from meshctl.lazy import Group
from meshctl.recovery import Found, Recovery, plan_recovery
from meshctl.session import Session, pass_session
from meshctl.views.recovery import recovery_lines
from schemas.backup import Backup
from schemas.clock import iso
from schemas.errors import Refused, StoreMissing, UsageError

LEADER_WITHIN = 30.0
"""Seconds after which a new store should be led."""


class _TakeOrVerb(Group):
    """`backup FILE` is short for `backup take FILE`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "take", self.commands["take"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_TakeOrVerb, name="backup", subcommand_metavar="FILE | verify FILE")
def backup_group() -> None:
    """Keep all of the mesh's state in one file: `meshctl backup FILE`."""


@backup_group.command("take", hidden=True)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it is there.")
@pass_session
def take(session: Session, path: Path, force: bool) -> None:
    """Write all of the mesh's state to FILE (mode 0600: specs may hold secrets)."""
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="another name, or --force")

    async def work(mesh: Mesh) -> Backup:
        return await take_backup(mesh.bus, session.clock)

    backup = session.run(work)
    save_backup(path, backup)
    click.echo(f"{path}: {_told(backup)}")


@backup_group.command("verify")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Check that FILE is whole and unchanged, and that what it holds fits together. Needs no mesh."""
    backup = load_backup(path)
    checked = check_backup(backup)
    click.echo(f"{path}: {_told(backup)}")
    click.echo(f"taken {iso(backup.head.at)} by meshctl {backup.head.by}")
    click.echo(", ".join(f"{count} {noun}" for noun, count in checked.counts.items()))
    _refuse_if(checked, path)
    click.echo("whole and unchanged")


@click.command("restore")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--replicas", type=click.Choice(["1", "3", "5"]), help="On how many NATS servers (default: as before).")
@pass_session
def restore(session: Session, path: Path, yes: bool, replicas: str | None) -> None:
    """Make the store anew from the backup FILE: what it wants is what will be.

    Containers keep running: nodes are assigned what their agents obey now. Where the backup wants something else
    (fewer slots, another revision), the leader brings that about as after any change. What is shown before says so.
    """
    backup = load_backup(path)
    _refuse_if(check_backup(backup), path)

    async def work(mesh: Mesh) -> None:
        seen = await _left(mesh, session)
        found = await _look(mesh, backup)
        why = f"the backup of {iso(backup.head.at)} (generation {backup.head.generation}, {backup.head.sequence})"
        recovery = plan_recovery(backup, found, rebuild=False, why=why, now=session.now)
        _show(recovery, found)
        if not yes:
            click.confirm("Make the store anew?", abort=True)
        await _apply(session, mesh, recovery, found, path, replicas, seen)

    session.run(work)


@click.group(cls=Group, name="state")
def state_group() -> None:
    """Rebuild a store that was lost or rolled back."""


@state_group.command("recover")
@click.option("--backup", "path", type=click.Path(path_type=Path), help="A backup (default: what the store holds).")
@click.option("--preview/--apply", default=True, help="Show what would be done (the default), or do it.")
@click.option("--replicas", type=click.Choice(["1", "3", "5"]), help="On how many NATS servers (default: as before).")
@click.option("-f", "--force", is_flag=True, help="Also where a controller leads and finds nothing wrong.")
@pass_session
def recover(session: Session, path: Path | None, preview: bool, replicas: str | None, force: bool) -> None:
    """Rebuild the store from a backup, or from what is left of it, and from what the agents obey.

    What runs goes before what is written: services, revisions and slots that are newer than the backup are rebuilt.
    """
    given = load_backup(path) if path is not None else None

    async def work(mesh: Mesh) -> None:
        seen = await _left(mesh, session)
        backup = given or seen
        found = await _look(mesh, backup)
        source = f"the backup {path}" if given else "what is left of the store" if backup else "no backup"
        recovery = plan_recovery(backup, found, rebuild=True, why=f"{source} and what agents obey", now=session.now)
        _show(recovery, found)
        if preview:
            click.echo("nothing was done: --apply does it")
            return
        if found.leader and not force:
            raise Refused(f"{found.leader} leads, and its store is well: nothing is to be recovered", hint="--force")
        await _apply(session, mesh, recovery, found, path or Path("state"), replicas, seen)

    session.run(work)


async def _left(mesh: Mesh, session: Session) -> Backup | None:
    """What is left of the store."""
    from meshctl.restoring import persistently

    try:
        return await persistently(lambda: take_backup(mesh.bus, session.clock))
    except StoreMissing:
        return None


async def _look(mesh: Mesh, backup: Backup | None) -> Found:
    from meshctl.restoring import look_around

    return await look_around(mesh.bus, backup)


def _show(recovery: Recovery, found: Found) -> None:
    for line in recovery_lines(recovery, found):
        click.echo(line)


async def _apply(
    session: Session,
    mesh: Mesh,
    recovery: Recovery,
    found: Found,
    beside: Path,
    replicas: str | None,
    seen: Backup | None,
) -> None:
    """Raises Refused where somebody's wish has reached the store since it was `seen`: it would be lost."""
    from bus.nats_admin import recreate_state
    from meshctl.restoring import laggards, new_leader, restore_store

    count = int(replicas) if replicas else await _replicas(mesh)
    left = await _left(mesh, session)
    _refuse_if_written(seen, left)
    if left is not None:
        kept = beside.with_name(f"{beside.name}.replaced-{left.head.generation}-{left.head.sequence}")
        save_backup(kept, left)
        click.echo(f"what was there is kept in {kept}")
    _refuse_if_written(left, await _left(mesh, session))
    sequence = await restore_store(
        mesh.bus, lambda first: recreate_state(mesh.bus, count, first), recovery, found.views
    )
    click.echo(f"the store is made anew, generation {recovery.mesh.generation}")
    beat = await new_leader(mesh.bus, recovery.mesh.generation, LEADER_WITHIN)
    click.echo(f"{beat.holder} leads it")
    for name, why in sorted((await laggards(mesh.bus, sequence, LEADER_WITHIN)).items()):
        click.echo(f"warning: {name} has not taken it in: {why}", err=True)


def _refuse_if_written(before: Backup | None, now: Backup | None) -> None:
    keys = written_meanwhile(before, now)
    if keys:
        told = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        raise Refused(
            f"the store was written to since you looked ({told}): nothing was done",
            hint="look again, and keep others from deploying meanwhile",
        )


async def _replicas(mesh: Mesh) -> int:
    """On how many servers a stream of this mesh was kept. Raises UsageError where no stream is left to tell."""
    from meshctl.restoring import persistently

    for store in (mesh.bus.state, mesh.bus.observed, mesh.bus.events):
        try:
            return (await persistently(store.info)).replicas
        except StoreMissing:
            continue
    raise UsageError("no stream is left that tells on how many servers they are kept", hint="--replicas 3")


def _told(backup: Backup) -> str:
    head = backup.head
    end = f"generation {head.generation}, sequence {head.sequence}"
    return f"mesh {head.mesh_id}, {end}, {len(backup.records)} records"


def _refuse_if(checked: Checked, path: Path) -> None:
    if checked.problems:
        for problem in checked.problems:
            click.echo(problem, err=True)
        raise Refused(f"{path}: {len(checked.problems)} of its records do not fit", hint="take another backup")
