"""`meshctl drift`: containers that are no longer what their revision says, on all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import click

from meshctl.client import Mesh
from meshctl.commands.node import known_nodes
from meshctl.commands.options import listing_options, print_listing
from meshctl.commands.task import find_task
from meshctl.format.output import Column, Listing
from meshctl.session import Session, pass_session
from schemas.drift import AskDrift, DriftReport
from schemas.errors import MeshError, NotFound

AT_ONCE = 32
"""Nodes asked at the same time."""

COLUMNS = (
    Column("TASK", "Task"),
    Column("NAME", "Name"),
    Column("NODE", "Node"),
    Column("POLICY", "Policy"),
    Column("DIFFERENCE", "Difference", 80),
)


@click.command("drift")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only there (default: all ready nodes).")
@click.option("--files", "task", metavar="TASK", help="Files of one task that differ from its image.")
@listing_options
@pass_session
def drift_command(
    session: Session, nodes: tuple[str, ...], task: str | None, form: str, quiet: bool, no_trunc: bool
) -> None:
    """List containers that are no longer what their revision says: changed limits, names, networks, a pause.

    Compared now, by each node itself. Orphans have the mesh's labels and are of no task.
    """
    if task is not None:
        session.run(lambda mesh: _files(mesh, task))
        return
    reports, silent = session.run(lambda mesh: _ask_all(mesh, nodes))
    print_listing(session, drift_listing(reports), form, quiet, no_trunc)
    for line in silent:
        click.echo(click.style("warning:", fg="yellow") + f" {line}", err=True)


def drift_listing(reports: Iterable[DriftReport]) -> Listing:
    """A row for each difference, then the orphans."""
    rows = [
        {
            "Task": each.task,
            "Name": f"{each.service}.{each.slot}",
            "Node": report.node,
            "Policy": each.policy,
            "Difference": str(difference),
        }
        for report in reports
        for each in report.drifted
        for difference in each.differences
    ]
    rows += [
        {"Task": "(orphan)", "Name": each.name, "Node": report.node, "Policy": "", "Difference": each.why}
        for report in reports
        for each in report.orphans
    ]
    return Listing(columns=COLUMNS, rows=rows, key="Task")


async def _ask_all(mesh: Mesh, nodes: tuple[str, ...]) -> tuple[list[DriftReport], list[str]]:
    await known_nodes(mesh, nodes)
    listed = (await mesh.nodes()).nodes
    wanted = [view.node for view in listed if (view.node in nodes if nodes else view.status == "ready")]
    slots = asyncio.Semaphore(AT_ONCE)
    reports: dict[str, DriftReport] = {}
    silent = [f"node {view.node} is {view.status}" for view in listed if not nodes and view.status != "ready"]

    async def one(node: str) -> None:
        async with slots:
            try:
                answer = await mesh.ask_node(node, "drift", AskDrift())
                assert isinstance(answer, DriftReport)
                reports[node] = answer
            except MeshError as error:
                silent.append(f"{node}: {error.message}")

    async with asyncio.TaskGroup() as group:
        for node in wanted:
            group.create_task(one(node), name=f"drift {node}")
    return [reports[node] for node in sorted(reports)], sorted(silent)


async def _files(mesh: Mesh, text: str) -> None:
    task = await find_task(mesh, text)
    if not task.node:
        raise NotFound(f"task {task.id} is on no node")
    answer = await mesh.ask_node(task.node, "drift", AskDrift(files_of=task.id))
    assert isinstance(answer, DriftReport)
    for line in answer.files:
        click.echo(line)
    if answer.files_total > len(answer.files):
        click.echo(f"... and {answer.files_total - len(answer.files)} more")
