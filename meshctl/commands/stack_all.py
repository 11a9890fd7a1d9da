"""All verbs of `meshctl stack`, gathered from the modules in which they stand."""

from __future__ import annotations

from meshctl.commands import refresh, stack_revisions
from meshctl.commands.stack import stack_group

__all__ = ["refresh", "stack_group", "stack_revisions"]
