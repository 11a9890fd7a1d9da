"""The demo's second story: the example voting app, its stack file unchanged, hurt while votes pour in on all nodes.

Each claim is checked while it is told.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from lab import voting
from lab.eye import Eye
from lab.lab import Lab
from lab.stage import Stage
from lab.story import check
from lab.voting import STACK, STACK_FILE, TASKS, Told, Voters
from schemas.taskapi import TaskView

PATIENCE = 40.0


class VotingStory:
    """The chapters, in order. Each raises AssertionError or TimedOut when a claim does not hold."""

    def __init__(self, lab: Lab, eye: Eye, stage: Stage) -> None:
        self.lab = lab
        self.eye = eye
        self.stage = stage
        self.hurt_at = time.monotonic()
        self.cast = 0
        """Votes that were taken besides those of the voters."""

    def tell(self, archives: list[Path]) -> None:
        """From the deploy to the last count."""
        self.deploy(archives)
        with Voters(self.lab) as voters:
            self.a_worker_and_redis_die(voters)
            self.leader_dies(voters)
            self.node_dies(voters)
            self.all_is_counted(voters.end())

    def deploy(self, archives: list[Path]) -> None:
        """Votes that are cast on any node are counted on all others."""
        self.stage.chapter("The example voting app, its stack file as everybody knows it: two networks, five services")
        self.stage.meshctl("image", "load", *(str(archive) for archive in archives))
        self.stage.meshctl("stack", "deploy", "-c", str(STACK_FILE), STACK)
        self.stage.meshctl("stack", "ps", STACK)
        for node in self.lab.nodes:
            self.vote(node)
            self.wait("the vote is counted on all nodes", self.all_say_so)
            self.stage.tell(f"a vote on http://{node}:{voting.VOTE} is counted on port {voting.RESULT} of every node")

    def a_worker_and_redis_die(self, voters: Voters) -> None:
        """Both are replaced; a worker takes no vote with it."""
        self.stage.chapter("Votes pour in on all nodes. A worker is killed, then redis")
        self.counting_goes_on(voters)
        told = self.kill("worker", voters)
        seconds = self.wait("both workers run again", self.complete)
        self.counting_goes_on(voters)
        self.stage.recovered(f"both workers run again; {voting.words(voters.told(), told)}", seconds)
        check(voters.told().failed == told.failed, "voters do not notice that a worker dies")
        told = self.kill("redis", voters)
        seconds = self.counting_goes_on(voters)
        self.stage.recovered(f"votes are counted again; {voting.words(voters.told(), told)}", seconds)
        self.wait("all tasks run", self.complete)

    def leader_dies(self, voters: Voters) -> None:
        """No vote notices."""
        self.stage.chapter("The leader is killed while votes pour in")
        told, epoch = voters.told(), self.eye.leader().epoch
        self.hurt()
        dead = self.lab.kill(self.eye.leader().holder)
        seconds = self.wait("another controller leads", lambda: self.eye.leader(1.0).epoch > epoch)
        self.counting_goes_on(voters)
        self.stage.recovered(f"{self.eye.leader().holder} leads; {voting.words(voters.told(), told)}", seconds)
        check(voters.told().failed == told.failed, "voters do not notice that the leader dies")
        self.lab.start(dead)

    def node_dies(self, voters: Voters) -> None:
        """The node with redis; or, where the database and its volume are there too, another."""
        home = self.task("db").node
        ahead = [self.task("redis").node, *reversed(self.lab.nodes)]
        victim = next(node for node in ahead if node != home)
        lost = [task.service for task in self.tasks() if task.node == victim]
        self.stage.chapter(f"{victim} loses its power, with {', '.join(lost)}")
        told = voters.told()
        self.hurt()
        self.lab.kill(victim)
        seconds = self.wait("all tasks run on the others", lambda: self.complete(besides=victim))
        self.stage.recovered("all tasks run on the other two nodes", seconds)
        seconds = self.counting_goes_on(voters)
        self.stage.recovered(f"votes are counted again; {voting.words(voters.told(), told)}", seconds)
        self.hurt()
        self.lab.start(victim)
        seconds = self.wait(f"{victim} takes votes again", lambda: self.total(victim) > 0 and self.vote(victim), 60)
        self.stage.recovered(f"{victim} is back and takes votes", seconds)

    def all_is_counted(self, told: Told) -> None:
        """All but what redis held when it died: it has no volume."""
        cast = told.taken + self.cast
        self.hurt()
        self.wait("nothing is left to be counted", self.calm)
        counted = self.total(self.home())
        self.stage.tell(f"{cast} votes were taken in all, {counted} are counted (redis died twice, and has no volume)")
        check(cast >= counted > cast * 0.9, f"nearly all of {cast} votes are counted")

    # --- doing and looking --------------------------------------------------------------------------------------------

    def kill(self, service: str, voters: Voters) -> Told:
        """Kill a task's process; how voters fared until then."""
        task = self.task(service)
        told = voters.told()
        self.hurt()
        self.lab.engine(task.node).signal(task.container, signal.SIGKILL.name)
        self.stage.tell(f"$ docker kill {task.service}.{task.slot} (on {task.node})")
        self.wait("the mesh knows", lambda: task.id not in {each.id for each in self.tasks()})
        return told

    def counting_goes_on(self, voters: Voters) -> float:
        """Until votes are counted that are cast from now on; seconds since the last `hurt`."""
        taken, counted = voters.told().taken, self.total(self.home())
        return self.wait(
            "votes are counted", lambda: voters.told().taken >= taken + 5 and self.total(self.home()) >= counted + 5
        )

    def home(self) -> str:
        """A node that is certainly there: that of the database."""
        return self.task("db").node

    def total(self, node: str) -> int:
        """What a node's result page says. Raises Unreachable."""
        return voting.counts(self.lab, node).total

    def vote(self, node: str) -> bool:
        """Cast a vote there; True. Raises Unreachable: it is not taken."""
        voting.cast(self.lab, node, "b")
        self.cast += 1
        return True

    def all_say_so(self) -> bool:
        """Whether the result on every node has exactly what was cast by hand."""
        return all(self.total(node) == self.cast for node in self.lab.nodes)

    def calm(self) -> bool:
        """Whether the count does not rise any more."""
        before = self.total(self.home())
        time.sleep(1.0)
        return self.total(self.home()) == before

    def tasks(self) -> list[TaskView]:
        """The stack's tasks that run, and answer if they can be asked."""
        found = [task for service in TASKS for task in self.eye.tasks(f"{STACK}_{service}")]
        return [task for task in found if task.state == "running" and task.health in ("", "healthy")]

    def task(self, service: str) -> TaskView:
        """One of a service's."""
        return next(task for task in self.tasks() if task.service == f"{STACK}_{service}")

    def complete(self, besides: str = "") -> bool:
        """Whether as many run as the file wants."""
        running = [task.service for task in self.tasks() if task.node != besides]
        return all(running.count(f"{STACK}_{service}") == count for service, count in TASKS.items())

    def hurt(self) -> None:
        """Recoveries are counted from now."""
        self.hurt_at = time.monotonic()

    def wait(self, what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Until it holds; the seconds since the last `hurt`."""
        return self.eye.wait_until(what, holds, patience, since=self.hurt_at)
