"""Docker's words for the states of our tasks: one table, one place."""

from __future__ import annotations

from schemas.taskapi import TaskView

LIVE = {
    "pending": "Pending",
    "assigned": "Assigned",
    "new": "New",
    "pulling": "Preparing",
    "starting": "Starting",
    "running": "Running",
    "stopping": "Stopping",
    "lost": "Orphaned",
}
"""Our state -> Docker's, where nothing else matters. Docker has no word for a container that was told to stop."""

COLOURS = {
    "Running": "green",
    "Complete": "green",
    "Pending": "yellow",
    "Assigned": "yellow",
    "New": "yellow",
    "Preparing": "yellow",
    "Starting": "yellow",
    "Not ready": "yellow",
    "Stopping": "yellow",
    "Failed": "red",
    "Rejected": "red",
    "Orphaned": "red",
    "Unhealthy": "red",
    "Shutdown": "dim",
}


def docker_state(task: TaskView) -> str:
    """Docker's word for the state of `task`.

    exited: Complete with code 0 by itself, Shutdown on request. failed: Rejected if it never had a container, else
    Failed. running: Starting until its health check has succeeded once, Unhealthy when it fails.
    """
    if task.state == "running":
        well = "Not ready" if task.not_ready else "Running"
        return {"starting": "Starting", "unhealthy": "Unhealthy"}.get(task.health, well)
    if task.state == "exited":
        return "Shutdown" if told_to_end(task) or task.exit_code not in (0, None) else "Complete"
    if task.state == "failed":
        return "Rejected" if task.exit_code is None and not task.container and not task.oom_killed else "Failed"
    return LIVE.get(task.state, task.state.capitalize())


def desired_state(task: TaskView) -> str:
    """What is wanted of it: Running, or Shutdown for what is history or to be ended."""
    return "Shutdown" if task.desired == "shutdown" or ended(task) else "Running"


def told_to_end(task: TaskView) -> bool:
    """Whether it was to end (the `why` of a task that is wanted tells why it was made)."""
    return task.desired == "shutdown" and bool(task.why)


def ended(task: TaskView) -> bool:
    """Whether nothing of it runs any more."""
    return task.state in ("exited", "failed")


def up(task: TaskView) -> bool:
    """Running, healthy where there is a health check, ready where its agent checks that."""
    return task.state == "running" and task.health in ("", "healthy") and not task.not_ready


def trouble(task: TaskView) -> str:
    """What is wrong with it, in one line; "" if nothing is."""
    if task.state in ("pending", "lost"):
        return task.error or task.why
    if task.error:
        return task.error
    if task.state == "running" and task.not_ready:
        return f"not ready: {task.not_ready}"
    if task.oom_killed:
        return "killed for want of memory"
    if task.state == "failed" and task.exit_code is not None:
        return f"exit code {task.exit_code}"
    return ""
