"""A round of which nobody knows whether it was stored: nothing is decided before that is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bus.commits import Fence, Outcome, Write
from schemas import subjects
from tests.sim.loop import run
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


@pytest.mark.parametrize("fault", ["unknown-stored", "unknown-not-stored"])
def test_the_leader_stores_something_behind_it_and_looks_before_it_decides_again(fault: str) -> None:
    async def story(world: World) -> None:
        stored: list[list[str]] = []
        doubtful: list[int] = []

        def seen(user: str, batch: Sequence[Write], _fence: Fence | None, _outcome: Outcome) -> None:
            keys = [write.key for write in batch]
            if not user.startswith("controller") or (keys == [subjects.EVENTS_CURSOR] and not doubtful):
                return
            if not doubtful and any(key.startswith("service.") for key in keys):
                world.broker.faults.next_commits.append(fault)  # type: ignore[arg-type]
                doubtful.append(len(stored) + 1)
            stored.append(keys)

        world.broker.state.on_commit = seen
        await deploy(world, service("shop_web"))
        await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
        first, *later = stored[doubtful[0] :]
        if fault == "unknown-stored":
            assert any(key.startswith("desired.") for key in first)
            first = later[0]
        assert first == [subjects.EVENTS_CURSOR], "what comes behind the doubtful one decides nothing"

    run(in_world(61, story))
