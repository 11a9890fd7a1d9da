"""All verbs of `meshctl stack`, gathered from the modules in which they stand."""

from __future__ import annotations

from meshctl.commands import stack_revisions
from meshctl.commands.stack import stack_group

__all__ = ["stack_group", "stack_revisions"]
