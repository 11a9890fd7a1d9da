"""All verbs of `meshctl service`, gathered from the modules in which they stand."""

from __future__ import annotations

from meshctl.commands import refresh, service_logs, service_put, service_revisions
from meshctl.commands.service import service_group

__all__ = ["refresh", "service_group", "service_logs", "service_put", "service_revisions"]
