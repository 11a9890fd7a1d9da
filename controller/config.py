"""What a controller is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import UsageError
from schemas.subjects import is_token, suggest_token
from schemas.version import VERSION


@dataclass(frozen=True)
class Config:
    """`name`: who it is among the controllers, the same over restarts."""

    name: str
    hostname: str = ""
    version: str = VERSION

    def __post_init__(self) -> None:
        """Raises UsageError: the name can't be a token of a subject."""
        if not is_token(self.name):
            raise UsageError(f"{self.name!r} can't be a controller's name", hint=f"try {suggest_token(self.name)!r}")
