"""The demo's story: a stack on three engines, a dead leader, a dead node, a node cut off from its volume.

Each claim is checked while it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.eye import Eye
from lab.lab import Lab
from lab.stage import Stage

STACK = "hello"
COMPOSE = Path(__file__).parent.parent / "examples" / "hello" / "compose.yaml"
WEB = 6


class Story:
    """The chapters, in order. Each raises AssertionError or TimedOut when a claim does not hold."""

    def __init__(self, lab: Lab, eye: Eye, stage: Stage) -> None:
        self.lab = lab
        self.eye = eye
        self.stage = stage
        self.hurt_at = time.monotonic()

    def tell(self, archives: list[Path]) -> None:
        """From the first deploy to the last recovery."""
        self.stage.meshctl(
            "context", "create", self.lab.name, "--credentials", str(self.lab.credentials_file()), "--use"
        )
        self.deploy(archives)
        self.leader_dies()
        self.node_dies()
        self.volume_node_is_cut_off()
        self.stage.meshctl("stack", "rm", STACK)

    def deploy(self, archives: list[Path]) -> None:
        """The Compose file becomes containers on three engines."""
        self.stage.chapter("A Compose file becomes containers on three engines (no registry is asked)")
        for archive in archives:
            self.stage.meshctl("image", "load", "-i", str(archive))
        self.stage.meshctl("stack", "deploy", "-c", str(COMPOSE), STACK)
        self.stage.meshctl("node", "ls")
        self.stage.meshctl("stack", "ps", STACK)
        check(self.running("web") == WEB, f"{WEB} web tasks run")
        check(self.running("edge") == len(self.lab.nodes), "an edge runs on every node")
        for node in self.lab.nodes:
            page = self.stage.page(self.lab, node, 8080)
            check(node in page, f"the edge on {node} answers and says where it is")
            self.stage.tell(f"http://{node}:8080 says: {page}")
        self.remember("the demo")
        self.stage.tell(f"a word is written to redis, on {self.volume_node()}")

    def leader_dies(self) -> None:
        """Another leads; no container notices."""
        self.stage.chapter("The leader is killed (kill -9)")
        before, epoch = self.containers(), self.eye.leader().epoch
        self.hurt()
        dead = self.lab.kill(self.eye.leader().holder)
        seconds = self.wait("another controller leads", lambda: self.eye.leader(1.0).epoch > epoch, 20)
        self.stage.recovered(f"{self.eye.leader().holder} leads instead of {dead}", seconds)
        self.stage.meshctl("service", "scale", f"{STACK}_web={WEB + 1}")
        self.stage.meshctl("service", "scale", f"{STACK}_web={WEB}")
        after = self.containers()
        check(len(before & after) >= len(before) - 1, "no container was touched but the one that was scaled away")
        self.lab.start(dead)

    def node_dies(self) -> None:
        """Its tasks run elsewhere."""
        holder = self.volume_node()
        victim = next(node for node in reversed(self.lab.nodes) if node != holder)
        self.stage.chapter(f"{victim} loses its power (redis and its volume are on {holder})")
        self.hurt()
        self.lab.kill(victim)
        seconds = self.wait(
            f"{WEB} web tasks run on the others", lambda: self.running("web", besides=victim) == WEB, 40
        )
        self.stage.recovered(f"{WEB} of {WEB} web tasks run on the other two nodes", seconds)
        self.stage.meshctl("node", "ls")
        check(self.recall() == "the demo", "redis runs on and has its data")
        self.hurt()
        self.lab.start(victim)
        seconds = self.wait(f"the edge on {victim} runs again", lambda: self.running("edge", on=victim) == 1, 60)
        self.stage.recovered(f"{victim} is back, and its edge runs", seconds)
        self.settle()

    def volume_node_is_cut_off(self) -> None:
        """Its task waits for it: never a silent new empty volume."""
        holder = self.volume_node()
        self.stage.chapter(f"The network cable of {holder} is pulled: redis has its data there")
        self.hurt()
        self.lab.cut(holder)
        seconds = self.wait("redis is told to wait for its node", lambda: holder in self.why_redis_waits(holder), 40)
        self.stage.recovered(f"redis waits: {self.why_redis_waits(holder)}", seconds)
        seconds = self.wait(
            f"{WEB} web tasks run on the others", lambda: self.running("web", besides=holder) == WEB, 40
        )
        self.stage.recovered(f"{WEB} of {WEB} web tasks run on the other two nodes", seconds)
        self.stage.meshctl("service", "ps", f"{STACK}_redis")
        check(all(self.redis_on(node) is None for node in self.lab.nodes if node != holder), "no second redis was made")
        container = self.redis_on(holder)
        self.stage.chapter(f"The cable of {holder} is put back")
        self.hurt()
        self.lab.heal(holder)
        seconds = self.wait("redis runs again", lambda: self.running("redis", on=holder) == 1, 60)
        self.stage.recovered(f"redis runs on {holder}", seconds)
        check(self.redis_on(holder) == container, "it is the same container: it ran on all the time")
        check(self.recall() == "the demo", "it still knows the word written at the start")
        self.settle()
        self.stage.meshctl("stack", "ps", STACK)

    # --- looking ------------------------------------------------------------------------------------------------------

    def running(self, service: str, *, on: str = "", besides: str = "") -> int:
        """How many tasks of a service run (and are healthy), as the mesh says and the engines confirm."""
        containers = self.containers()
        return sum(
            task.state == "running"
            and task.health in ("", "healthy")
            and task.container in containers
            and (not on or task.node == on)
            and task.node != besides
            for task in self.eye.tasks(f"{STACK}_{service}")
        )

    def settle(self) -> None:
        """Until everything runs once, and once only."""

        def settled() -> bool:
            wanted = {"web": WEB, "edge": len(self.lab.nodes), "redis": 1}
            counts = {service: self.running(service) for service in wanted}
            return counts == wanted and len(self.containers()) == sum(wanted.values())

        seconds = self.wait("everything runs once, and once only", settled, 60)
        self.stage.recovered("everything runs once, and once only", seconds)

    def why_redis_waits(self, holder: str) -> str:
        """What the leader says of the redis slot; "" while it does not wait."""
        tasks = self.eye.tasks(f"{STACK}_redis")
        return next((task.why or task.error for task in tasks if holder in f"{task.why} {task.error}"), "")

    def containers(self) -> set[str]:
        """The ids of all running containers of the stack, as the engines say."""
        nodes = [machine.name for machine in self.lab.status() if machine.kind == "node" and machine.state != "off"]
        return {each["Id"] for node in nodes for each in self.lab.engine(node).containers(f"mesh.stack={STACK}")}

    def redis_on(self, node: str) -> str | None:
        """The id of the redis container that runs on a node."""
        found = self.lab.engine(node).containers(f"mesh.service={STACK}_redis")
        return found[0]["Id"] if found else None

    def volume_node(self) -> str:
        """Where redis and its volume are."""
        return next(node for node in self.lab.nodes if self.redis_on(node) is not None)

    def remember(self, word: str) -> None:
        """Write a word to redis."""
        check(self._redis("set", "word", word) == "OK", "redis takes a word")

    def recall(self) -> str:
        """Read it again."""
        return self._redis("get", "word")

    def _redis(self, *words: str) -> str:
        node = self.volume_node()
        container = self.lab.engine(node).inspect(self.redis_on(node) or "")
        enter = ("nsenter", "-t", str(container["State"]["Pid"]), "-m", "-n", "--")
        return self.lab.exec(node, [*enter, "/usr/bin/redis-cli", *words]).stdout.strip()

    def hurt(self) -> None:
        """Recoveries are counted from now."""
        self.hurt_at = time.monotonic()

    def wait(self, what: str, holds: Callable[[], bool], patience: float) -> float:
        """Until it holds; the seconds since the last `hurt`."""
        return self.eye.wait_until(what, holds, patience, since=self.hurt_at)


def check(holds: bool, claim: str) -> None:
    """Raises AssertionError unless it holds."""
    if not holds:
        raise AssertionError(f"it is not so that {claim}")
