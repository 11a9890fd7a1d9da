"""A store without room: it refuses what is sent, for a while. Nothing ends by that, and nothing is decided twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

import bus.writer
from bus.commits import Committed, Fence, Outcome, Write
from controller.controller import Controller
from schemas.errors import Refused
from schemas.serviceapi import ScaleServices, ServiceDeploy
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of, ready, spec


def web(replicas: int) -> ServiceDeploy:
    return ServiceDeploy(spec=spec("shop_web", "shop"), replicas=replicas)


async def leads_on(mesh: Mesh, leader: Controller) -> None:
    """For a minute nothing can be stored, though there is something to store."""
    epoch = leader.elector.election.epoch
    mesh.broker.state.full = True
    with pytest.raises(Refused, match="the store refuses a write"):
        await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 3}))
    await mesh.kill("n2")
    await asyncio.sleep(60)
    assert (leader.leads, leader.elector.election.epoch) == (True, epoch)
    assert "nothing can be stored now" in leader.leader.alarms[-1].text
    mesh.broker.state.full = False


@pytest.mark.parametrize("stop_after", [0.0, 20.0])
def test_a_leader_leads_on_and_says_that_nothing_can_be_stored(stop_after: float) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            leased = spec("shop_db", "shop")
            leased = replace(leased, task=replace(leased.task, stop_after=stop_after))
            await mesh.deploy(web(2), ServiceDeploy(spec=leased, replicas=1))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            await leads_on(mesh, await mesh.led())
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 3}))
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2", "3"])
            assert not any("nothing can be stored" in each.text for each in mesh.leader().leader.alarms)

    run(scenario())


def test_a_leader_that_stops_says_so_though_nothing_can_be_stored() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            other = next(each for each in mesh.controllers.values() if each is not leader)
            mesh.broker.state.full = True
            await leader.elector.hand_over()
            await asyncio.sleep(5)
            assert not other.leads
            mesh.broker.state.full = False
            await mesh.until(lambda: other.leads, 5)

    run(scenario())


@pytest.mark.parametrize("kind", ["in parts", "of unknown outcome"])
def test_nothing_is_decided_before_it_is_known_what_was_stored_of_the_round_before(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round's first part is stored, or all of it, then there is no room for half a second; for a second the leader
    gets nothing of what was stored."""
    if kind == "in parts":
        monkeypatch.setattr(bus.writer, "BATCH_MESSAGES", 2)

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            await asyncio.sleep(10)
            hub, loop, begun = mesh.broker.state, asyncio.get_running_loop(), False

            def sent(batch: Sequence[Write], fence: Fence | None) -> None:
                nonlocal begun
                if begun or not any(write.key.startswith("desired.") for write in batch):
                    return
                begun = True
                for each in (mesh.broker.state, mesh.broker.observed):
                    rule = mesh.broker.lose(each.republished + ">", receiver="controller-c1")
                    loop.call_later(1.0, mesh.broker.faults.remove, rule)
                if kind == "of unknown outcome":
                    mesh.broker.faults.next_commits.append("unknown-stored")

            def judged(user: str, batch: Sequence[Write], fence: Fence | None, outcome: Outcome) -> None:
                if begun and not hub.full and loop.time() < until and isinstance(outcome, Committed):
                    hub.full = True
                    loop.call_later(0.5, setattr, hub, "full", False)

            until = loop.time() + 1.0
            hub.on_send, hub.on_commit = sent, judged
            await mesh.deploy(web(4))
            await asyncio.sleep(15)
            assert begun
            assert mesh.running("shop_web") == ["1", "2", "3", "4"]
            assert sum(len(agent.ever) for agent in mesh.agents.values()) == 4

    run(scenario())
