"""The command `meshctl`: global options, the table of commands, and the one place where errors become exit codes.

`meshctl --help` must stay below 150 ms: nothing heavier than click is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from meshctl.lazy import LazyGroup, Member

MANAGE = "Manage"
MESH = "The mesh itself"
TOOLS = "Tools"

MEMBERS = {
    "stack": Member(
        "meshctl.commands.stack_all:stack_group", "Deploy Compose files and look after what they made.", MANAGE
    ),
    "plan": Member("meshctl.commands.plan:plan_command", "Show what a deploy would do.", MANAGE),
    "service": Member(
        "meshctl.commands.service_all:service_group", "Create, scale, update, inspect, read logs.", MANAGE
    ),
    "task": Member("meshctl.commands.task:task_group", "Look at one task.", MANAGE),
    "node": Member("meshctl.commands.node:node_group", "List, label, drain and remove nodes.", MANAGE),
    "rebalance": Member("meshctl.commands.rebalance:rebalance_command", "Even out where tasks run.", MANAGE),
    "volume": Member("meshctl.commands.volume:volume_group", "List and remove named volumes.", MANAGE),
    "network": Member("meshctl.commands.network:network_group", "Networks between the nodes.", MANAGE),
    "image": Member("meshctl.commands.image:image_group", "Bring images to nodes without a registry.", MANAGE),
    "drift": Member("meshctl.commands.drift:drift_command", "Containers that somebody has changed by hand.", MESH),
    "status": Member("meshctl.commands.status:status_command", "How the mesh is, on one screen.", MESH),
    "events": Member("meshctl.commands.events:events_command", "What happened and what happens.", MESH),
    "brake": Member("meshctl.commands.brake:brake_group", "Let replacements go on after many nodes fell silent.", MESH),
    "backup": Member("meshctl.commands.backup:backup_group", "Keep all of the mesh's state in one file.", MESH),
    "restore": Member("meshctl.commands.backup:restore", "Make the store anew from a backup.", MESH),
    "state": Member("meshctl.commands.backup:state_group", "Rebuild a store that was lost or rolled back.", MESH),
    "context": Member("meshctl.commands.context:context_group", "Which mesh is spoken to.", MESH),
    "init": Member("meshctl.commands.init:init_command", "Create a mesh on running NATS servers.", MESH),
    "dev": Member("meshctl.commands.dev:dev_command", "A mesh of one node on this machine's own engine.", TOOLS),
    "lab": Member("meshctl.commands.lab:lab_group", "A mesh of many nodes on this one machine.", TOOLS),
    "completion": Member("meshctl.commands.completion:completion_command", "Completion for your shell.", TOOLS),
    "version": Member("meshctl.commands.version:version_command", "Versions of meshctl and of the mesh.", TOOLS),
}


@click.group(
    cls=LazyGroup,
    members=MEMBERS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every command has --help. Which mesh: --context, MESH_CONTEXT, NATS_URL, or `meshctl context use`.",
)
@click.option("-c", "--context", metavar="NAME", help="The mesh to speak to (default: the current context).")
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected errors.")
@click.pass_context
def cli(ctx: click.Context, context: str | None, debug: bool) -> None:
    """Run containers on many Docker hosts as one.

    The nouns and flags are Docker's: whoever knows `docker stack` and `docker service` knows these.
    """
    from meshctl.session import Session

    if not isinstance(ctx.obj, Session):
        ctx.obj = Session()
    ctx.obj.context = context or ctx.obj.context
    ctx.obj.debug = debug


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="meshctl", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit:  # completion has answered
        raise
    except BaseException as error:  # told in one place, whatever it was
        from meshctl.failure import report

        arguments = sys.argv[1:] if argv is None else argv
        return report(error, debug="--debug" in arguments)
    return code if isinstance(code, int) else 0  # click gives back what a command has exited with


if __name__ == "__main__":
    sys.exit(main())
