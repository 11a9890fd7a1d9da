"""What can be done for one task: values that `agent.tasks` decides on and `agent.worker` carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agent.local import LocalTask


@dataclass(frozen=True)
class Pull:
    """See to it that the image is here."""

    def describe(self) -> str:
        """One line for the log."""
        return "get the image"


@dataclass(frozen=True)
class Create:
    """Make the container."""

    def describe(self) -> str:
        """One line for the log."""
        return "create the container"


@dataclass(frozen=True)
class Start:
    """Start the container, which never ran yet."""

    container: str

    def describe(self) -> str:
        """One line for the log."""
        return f"start {self.container[:12]}"


@dataclass(frozen=True)
class Stop:
    """Ask the container to end; the engine kills it after `grace` seconds."""

    container: str
    grace: float

    def describe(self) -> str:
        """One line for the log."""
        return f"stop {self.container[:12]}, {self.grace:g} s of grace"


@dataclass(frozen=True)
class Kill:
    """End the container at once: stopping has brought nothing."""

    container: str

    def describe(self) -> str:
        """One line for the log."""
        return f"kill {self.container[:12]}"


@dataclass(frozen=True)
class Remove:
    """Remove a container that was made and is not to be started."""

    container: str

    def describe(self) -> str:
        """One line for the log."""
        return f"remove {self.container[:12]}, which never ran"


@dataclass(frozen=True)
class Report:
    """What the engine shows is news: note it and tell it. `ended`: with the last lines of its log."""

    task: LocalTask

    def describe(self) -> str:
        """One line for the log."""
        health = f" ({self.task.health})" if self.task.health else ""
        return f"{self.task.state}{health} {self.task.error}".rstrip()


@dataclass(frozen=True)
class Wait:
    """Nothing before that monotonic time."""

    until: float

    def describe(self) -> str:
        """One line for the log."""
        return f"wait until {self.until:.1f}"


@dataclass(frozen=True)
class Nothing:
    """It is as it should be, or there is nothing that helps."""

    def describe(self) -> str:
        """One line for the log."""
        return "nothing to do"


Step: TypeAlias = Pull | Create | Start | Stop | Kill | Remove | Report | Wait | Nothing
