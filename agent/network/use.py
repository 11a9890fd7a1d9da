"""Which networks this node needs: by what it is told to run, and by what it runs."""

from __future__ import annotations

from collections.abc import Iterable

from agent.local import LocalTask
from agent.network.model import View
from schemas import subjects
from schemas.assignment import Assignment


class Use:
    """The use of networks by one node."""

    def __init__(self) -> None:
        self.homes: tuple[dict[str, str], ...] = ()
        """Of each task of this node its addresses by network."""
        self.used: frozenset[str] = frozenset()
        """Networks of the tasks that the node is told to run."""
        self.standing: frozenset[str] = frozenset()
        """Networks of which links and rules may stand."""
        self._up: frozenset[str] = frozenset()
        self._obeyed = False
        """Whether an assignment has said what is used."""

    @property
    def by_tasks(self) -> frozenset[str]:
        """Networks of tasks that are here, or are to be."""
        return self.used.union(*self.homes)

    def obey(self, assignment: Assignment) -> bool:
        """Take in what an assignment says; whether that is news."""
        specs = {task.spec for task in assignment.tasks}
        found = (assignment.specs.get(spec) for spec in specs)
        networks = frozenset(each.network for spec in found if spec is not None for each in spec.container.networks)
        if networks == self.used and self._obeyed:
            return False
        self.used, self._obeyed = networks, True
        return True

    def run(self, known: Iterable[LocalTask]) -> bool:
        """Take in what runs here, in a lasting order; whether that is news."""
        tasks = [task for task in known if task.addresses]
        homes, up = tuple(task.addresses for task in tasks), frozenset(task.id for task in tasks if task.observed().up)
        if (homes, up) == (self.homes, self._up):
            return False
        self.homes, self._up = homes, up
        return True

    def needed(self, records: View, used: frozenset[str], *, whole: bool) -> frozenset[str]:
        """Which of those that stand are to stay. `used`: what is known to be; `whole`: the records are complete."""
        if self._obeyed:
            return used
        return frozenset(each for each in self.standing if not whole or self._may_be_needed(each, records, used))

    def _may_be_needed(self, network: str, records: View, used: frozenset[str]) -> bool:
        """Whether it may be needed though no assignment has come. A store made anew may not have had it ever."""
        allotted = network in records.allocations and records.sequences.get(subjects.allocation_key(network), 0)
        return bool(network in used.union(*self.homes) or allotted)
