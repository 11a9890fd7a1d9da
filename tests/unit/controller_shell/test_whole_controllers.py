"""Real controllers with pretend agents on the bus in memory, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Fence, Fenced, Put
from controller import election as rules
from schemas import subjects
from schemas.errors import NotFound, Refused, StoreMissing, TimedOut
from schemas.memberapi import ListNodes
from schemas.serviceapi import InspectService, ListServices, ScaleServices, ServiceDeploy
from schemas.stackapi import RemoveStack
from schemas.statusapi import GetStatus, GiveOrder, Status
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import mesh_of, ready, spec


def test_a_stack_is_deployed_scaled_and_removed_without_a_trace() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=3) as mesh:
            await ready(mesh)
            answer = await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=4))
            assert [each.change for each in answer.services] == ["created"]
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2", "3", "4"])
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 2}))
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2"])
            await mesh.ask("stack.remove", RemoveStack(stack="shop"))
            await mesh.until(lambda: mesh.running("shop_web") == [])
            leader = await mesh.led()
            await mesh.until(lambda: not leader.mirror.records.services and not leader.mirror.records.stacks)
            assert not leader.mirror.records.revisions
            kinds = [event.split('"kind":"')[1].split('"')[0] for event in mesh.events()]
            for kind in ("service.created", "service.scaled", "service.removed", "service.gone", "stack.deployed"):
                assert kind in kinds, kinds
            assert kinds.count("task.assigned") == 4

    run(scenario())


def test_a_killed_leader_is_followed_within_seconds_and_nothing_runs_twice() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=3) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=6))
            old = await mesh.led()
            await mesh.kill(old.config.name, advise=False)
            took = await mesh.until(lambda: mesh.leader() is not None)
            assert 0.5 < took < 1.6
            await mesh.until(lambda: len(mesh.running("shop_web")) == 6)
            await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 9}))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 9)
            await asyncio.sleep(10)
            assert mesh.running("shop_web") == [str(slot) for slot in range(1, 10)]
            assert sum(len(agent.ever) for agent in mesh.agents.values()) == 9

    run(scenario())


def test_the_disconnect_advisory_of_the_leader_shortens_the_wait() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=0) as mesh:
            old = await mesh.led()
            await mesh.kill(old.config.name, advise=True)
            assert await mesh.until(lambda: mesh.leader() is not None) < 0.4

    run(scenario())


def test_a_leader_that_stops_hands_over_at_once() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=1) as mesh:
            old = await mesh.led()
            old.stop()
            assert await mesh.until(lambda: mesh.leader() not in (None, old)) < 0.3
            await mesh.until(lambda: len(mesh.events("leadership")) == 3)
            kinds = [event.split('"kind":"')[1].split('"')[0] for event in mesh.events("leadership")]
            assert kinds == ["leadership.taken", "leadership.handed_over", "leadership.taken"]

    run(scenario())


def test_a_deposed_leader_has_its_rounds_refused_and_follows() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            old = await mesh.led()
            epoch = old.elector.election.epoch
            user = f"controller-{old.config.name}"
            mesh.broker.partition(user)
            await mesh.until(lambda: any(each.leads for each in mesh.controllers.values() if each is not old))
            assert old.leads, "it can't know yet"
            mesh.broker.heal(user)
            await mesh.until(lambda: not old.leads)
            outcome = await old.bus.state.commit([Put(subjects.desired_key("n1"), b"{}")], Fence(epoch))
            assert isinstance(outcome, Fenced)

    run(scenario())


def test_a_leader_keeps_leading_while_the_store_takes_no_writes() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            leader = await mesh.led()
            epoch = leader.elector.election.epoch
            mesh.broker.pause_writes(8.0, late=True)
            await mesh.kill("n1", advise=True)
            await asyncio.sleep(8.5)
            assert leader.leads
            assert leader.elector.election.epoch == epoch
            await mesh.until(lambda: mesh.running("shop_web") == ["1", "2"])

    run(scenario())


@pytest.mark.parametrize("fault", ["unknown-stored", "unknown-not-stored", "busy"])
def test_a_round_of_unknown_outcome_places_nothing_twice(fault: str) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=3) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=3))
            mesh.broker.faults.next_commits.extend([fault] * 3)  # type: ignore[list-item]
            await mesh.until(lambda: len(mesh.running("shop_web")) == 3)
            await asyncio.sleep(5)
            assert mesh.running("shop_web") == ["1", "2", "3"]
            assert sum(len(agent.ever) for agent in mesh.agents.values()) == 3

    run(scenario())


def test_a_lost_last_message_does_not_stop_the_rounds() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            rule = mesh.broker.lose("mesh.state.>", receiver=f"controller-{leader.config.name}", first=1)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2, 10)
            mesh.broker.faults.remove(rule)

    run(scenario())


def test_a_read_waits_until_the_serving_controller_has_seen_the_write() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=1) as mesh:
            await ready(mesh)
            for replicas in range(1, 8):
                answer = await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=replicas))
                for _ in range(6):
                    seen = await mesh.ask(
                        "service.inspect", InspectService(service="shop_web", min_sequence=answer.sequence)
                    )
                    assert seen.record.replicas == replicas
            with pytest.raises(TimedOut, match="not yet at"):
                await mesh.ask("service.list", ListServices(min_sequence=10**6))

    run(scenario())


def test_garbage_on_every_subject_stops_nothing() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            garbage = [b"", b"\xff\xfe", b"{", b"[]", b'{"holder": 3}', b"null", b"x" * 100_000]
            told = [subjects.LEADER, subjects.controller("c1"), subjects.heartbeat("n1"), subjects.event("a.b")]
            for data in garbage:
                for subject in told:
                    await mesh.operator.core.publish(subject, data)
                for noun, verb in (("stack", "deploy"), ("status", "get"), ("no", "such"), ("task", "inspect")):
                    reply = await mesh.operator.core.request(subjects.api(noun, verb), data, timeout=5)
                    assert b'"bad_message"' in reply or (noun, verb) == ("status", "get"), reply
                reply = await mesh.operator.core.request(subjects.agent_api("n1", "join"), data, timeout=5)
                assert b'"bad_message"' in reply
                for key in ("service.x", "desired.n1", "node.n9", "revision.a", "brake", "odd", "order.o", "stack.A.b"):
                    await mesh.operator.state.commit([Put(key, data or b" ")])
                await mesh.operator.observed.commit([Put("n7", data or b" ")])
            await mesh.until(lambda: mesh.leader() is not None)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)

    run(scenario())


def test_a_store_that_is_missing_is_said_and_nothing_is_made_in_its_place() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=0, create=False) as mesh:
            await asyncio.sleep(10)
            assert not any(each.leads for each in mesh.controllers.values())
            assert mesh.broker.state.stream is None
            with pytest.raises(StoreMissing):
                await mesh.ask("service.list", ListServices())
            status: Status = await mesh.ask("status.get", GetStatus())
            assert any("store.missing" in reason.text for reason in status.reasons)
            mesh.broker.create_mesh("m1")
            await mesh.led()

    run(scenario())


def test_a_store_that_was_rolled_back_is_led_by_nobody_who_remembers() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            checkpoint = mesh.broker.checkpoint()
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            await asyncio.sleep(5)
            for name in list(mesh.controllers):
                await mesh.kill(name)
            mesh.broker.roll_back(checkpoint)
            for name in ("c1", "c2"):
                mesh.start_controller(name)
            await asyncio.sleep(20)
            assert not any(each.leads for each in mesh.controllers.values())
            assert mesh.running("shop_web") == ["1", "2"]
            assert "store.rolled_back" in mesh.controllers["c1"].elector.trouble

    run(scenario())


def test_a_leader_freezes_when_an_agent_obeys_what_its_store_does_not_hold() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            checkpoint = mesh.broker.checkpoint()
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            await mesh.kill("c1")
            mesh.broker.roll_back(checkpoint)
            newcomer = mesh.start_controller("c9")
            await mesh.until(lambda: newcomer.hearing.suspicion.rolled_back != "")
            await asyncio.sleep(30)
            assert mesh.running("shop_web") == ["1", "2"], "nothing that runs is hurt"
            with pytest.raises(Refused, match=r"store\.rolled_back"):
                await mesh.deploy(ServiceDeploy(spec=spec("shop_api", "shop"), replicas=2))
            await mesh.until(lambda: not newcomer.leads or newcomer.leader.frozen != "")

    run(scenario())


def test_every_controller_is_named_by_the_status_of_any() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=2) as mesh:
            await ready(mesh)
            for _ in range(6):
                status: Status = await mesh.ask("status.get", GetStatus())
                assert [each.name for each in status.controllers] == ["c1", "c2", "c3"]
                assert [each.name for each in status.controllers if each.leads] == [status.leader]
                assert (status.nodes, status.nodes_ready, status.mesh_id) == (2, 2, "m1")
            await mesh.kill(status.leader)
            await asyncio.sleep(6)
            status = await mesh.ask("status.get", GetStatus())
            assert len(status.controllers) == 2

    run(scenario())


def test_the_status_says_it_when_nobody_leads_though_controllers_are_heard() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            for controller in mesh.controllers.values():
                controller.elector._candidate._barred = lambda: "not today"
                controller.elector._end("a test")
                controller.elector._feed(rules.Deposed())
            await asyncio.sleep(4)
            status: Status = await mesh.ask("status.get", GetStatus())
            assert status.leader == ""
            assert any("nobody leads, though controllers are heard (c1, c2)" in each.text for each in status.reasons)

    run(scenario())


def test_a_node_name_is_bound_to_one_agent() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=1) as mesh:
            await ready(mesh)
            impostor = mesh.start_agent("n1", instance="another")
            mesh.agents.pop("n1")
            with pytest.raises(Refused, match="taken by another agent"):
                await impostor.join()
            nodes = await mesh.ask("node.list", ListNodes())
            assert [node.instance for node in nodes.nodes] == ["instance-n1"]

    with pytest.raises(BaseExceptionGroup) as caught:
        run(scenario())
    assert caught.value.split(Refused)[1] is None, "only the impostor fails"


def test_an_order_is_answered_and_cleared_away() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await mesh.kill("n2")
            leader = await mesh.led()
            await mesh.until(lambda: leader.mirror.records.liveness["n2"].verdict == "down")
            await mesh.ask("order.give", GiveOrder(kind="node.confirm-dead", node="n2", command="cmd1"))
            await mesh.until(lambda: leader.mirror.records.liveness["n2"].ended)
            await mesh.until(lambda: not leader.mirror.records.orders)
            with pytest.raises(NotFound):
                await mesh.ask("order.give", GiveOrder(kind="node.confirm-dead", node="n5"))
            with pytest.raises(Refused, match="no order"):
                await mesh.ask("order.give", GiveOrder(kind="explode"))

    run(scenario())


def test_a_new_leader_tells_what_the_old_one_had_no_time_to() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            await asyncio.sleep(6)
            old = await mesh.led()
            mesh.broker.events.paused_until = asyncio.get_running_loop().time() + 3
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=1))
            await mesh.kill(old.config.name)
            await mesh.until(lambda: len(mesh.events("service.created")) == 1)
            await mesh.until(lambda: len(mesh.events("task.assigned")) == 1)
            await asyncio.sleep(10)
            ids = [event.split('"id":"')[1].split('"')[0] for event in mesh.events()]
            assert len(ids) == len(set(ids))

    run(scenario())
