"""Click options made from the table of flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from meshctl.flags.table import GATHERINGS, SETTINGS, Gathering, Setting

F = TypeVar("F", bound=Callable[..., Any])

CHECKS = (
    ("--health-cmd", "COMMAND", "A shell command that tells whether it is healthy."),
    ("--health-interval", "DURATION", "Between two checks."),
    ("--health-timeout", "DURATION", "A check may take so long."),
    ("--health-start-period", "DURATION", "Failures so early do not count."),
    ("--health-start-interval", "DURATION", "Between two checks in the start period."),
    ("--health-retries", "N", "Failures in a row that make it unhealthy."),
    ("--ready-http", ":PORT/PATH", "The agent asks there whether it is ready: for images without curl."),
    ("--ready-tcp", "PORT", "The agent connects there instead."),
    ("--ready-interval", "DURATION", "Between two of its checks."),
    ("--ready-timeout", "DURATION", "Such a check may take so long."),
    ("--ready-retries", "N", "Failures in a row that make it not ready again."),
    ("--log-driver", "DRIVER", "Docker's log driver."),
)


def create_flags(command: F) -> F:
    """All flags of `service create` that are told in the table."""
    for gathering in reversed(GATHERINGS):
        command = _gathering(gathering, gathering.create, gathering.field)(command)
    return _both(command)


def update_flags(command: F) -> F:
    """All flags of `service update` that are told in the table."""
    for gathering in reversed(GATHERINGS):
        command = _gathering(gathering, (f"--{gathering.name}-add",), f"{gathering.field}_add")(command)
        text = f"Take back what --{gathering.name}-add gave."
        removal = click.option(f"--{gathering.name}-rm", multiple=True, metavar="KEY", help=text)
        command = removal(command)
    return _both(command)


def _both(command: F) -> F:
    for setting in reversed(SETTINGS):
        command = _setting(setting)(command)
    for name, metavar, text in CHECKS:
        command = click.option(name, metavar=metavar, help=text)(command)
    command = click.option("--no-healthcheck", is_flag=True, help="Also none that the image brings.")(command)
    command = click.option("--no-ready", is_flag=True, help="No check of readiness.")(command)
    return click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="An option of the log driver.")(command)


def _setting(setting: Setting) -> Callable[[F], F]:
    names = [f"-{setting.short}"] if setting.short else []
    if setting.switch:
        return click.option(*names, f"--{setting.name}/--no-{setting.name}", default=None, help=setting.help)
    return click.option(*names, f"--{setting.name}", metavar=setting.metavar, help=setting.help)


def _gathering(gathering: Gathering, flags: tuple[str, ...], field: str) -> Callable[[F], F]:
    return click.option(*flags, field, multiple=True, metavar=gathering.metavar, help=gathering.help)
