"""What is kept of an ended task: all that tells why, in 16 KiB, found by its id when nothing else is left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engine.memory_life import Program
from agent.journal import POST_MORTEMS_KEPT, messages_of
from agent.postmortem import fitted
from meshctl.eventstream import find_post_mortem
from schemas.events import Event, EventBatch
from schemas.nodeapi import LogLine
from schemas.postmortem import KIND, POST_MORTEM_LIMIT, POST_MORTEM_LINES, HealthProbe, PostMortem
from schemas.spec import HealthCheck
from schemas.wire import decode, encode
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of
from tests.unit.agent.test_journal import Scene, run

LINES = tuple(f"line {number}" for number in range(80))


def test_how_a_task_ended_is_found_by_its_id_after_its_container_is_gone() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("bad:1", Program(runs_for=5, exit_code=3, lines=LINES))
        spec = spec_of("bad:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "failed")
            await stage.engine.remove(stage.container("1-1").id)
            await asyncio.sleep(1)
        found = await find_post_mortem(stage.leader.bus, "1-1")
        assert found is not None
        assert (found.task, found.service, found.slot, found.node) == ("1-1", "web", "1", "n1")
        assert (found.state, found.exit_code, found.error, found.image) == ("failed", 3, "exit code 3", "bad:1")
        assert [line.text for line in found.log] == list(LINES[-POST_MORTEM_LINES:])
        assert found.finished_at - found.started_at > 4
        assert found.image_id
        assert await find_post_mortem(stage.leader.bus, "1") is None

    play(scene)


@pytest.mark.parametrize("oom", [True, False])
def test_whether_it_was_out_of_memory_is_kept(oom: bool) -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("greedy:1", Program(runs_for=5, exit_code=137, oom=oom))
        spec = spec_of("greedy:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "failed")
            await asyncio.sleep(1)
        found = await find_post_mortem(stage.leader.bus, "1-1")
        assert found is not None
        assert (found.oom_killed, found.exit_code) == (oom, 137)
        assert ("out of memory" in found.error) == oom

    play(scene)


def test_the_last_health_checks_are_kept() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("sick:1", Program(healthy_after=1, unhealthy_after=5))
        spec = spec_of("sick:1", healthcheck=HealthCheck(test=("CMD", "true")))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "failed")
            await asyncio.sleep(1)
        found = await find_post_mortem(stage.leader.bus, "1-1")
        assert found is not None
        assert [probe.exit_code for probe in found.health] == [0, 1]
        assert not found.asked

    play(scene)


def test_what_is_kept_outlives_the_agent_and_a_mesh_that_is_away() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("bad:1", Program(runs_for=5, exit_code=3, lines=LINES))
        spec = spec_of("bad:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            stage.broker.disconnect("agent-n1")
            await asyncio.sleep(10)
        stage.broker.reconnect("agent-n1")
        assert await find_post_mortem(stage.leader.bus, "1-1") is None
        async with stage.agent():
            await asyncio.sleep(5)
        found = await find_post_mortem(stage.leader.bus, "1-1")
        assert found is not None
        assert (found.exit_code, len(found.log)) == (3, POST_MORTEM_LINES)

    play(scene)


LINE = st.builds(LogLine, at=st.just("2026-11-23T06:30:00Z"), text=st.text(max_size=3000))
PROBE = st.builds(HealthProbe, at=st.just("2026-11-23T06:30:00Z"), output=st.text(max_size=3000))


@settings(max_examples=60, deadline=None)
@given(st.lists(LINE, max_size=60), st.lists(PROBE, max_size=8), st.text(max_size=1000))
def test_whatever_is_printed_a_post_mortem_is_bounded(
    lines: list[LogLine], probes: list[HealthProbe], why: str
) -> None:
    whole = PostMortem(task="1-1", log=tuple(lines), health=tuple(probes), error=why)
    found = fitted(whole)
    assert len(encode(found)) <= POST_MORTEM_LIMIT
    assert found.log_cut or found.log == whole.log
    if found.log:
        assert found.log[-1].text == lines[-1].text[:512], "the last line is the one that tells"


def test_lines_of_control_characters_do_not_burst_it() -> None:
    noise = tuple(LogLine(at="x", text="\x00" * 512) for _ in range(50))
    found = fitted(PostMortem(task="1-1", log=noise))
    assert len(encode(found)) <= POST_MORTEM_LIMIT
    assert found.log_cut
    assert found.log


def kept(number: int) -> Event:
    return Event(id=f"{number}-postmortem", kind=KIND, at="", node="n1", task=f"1-{number}.r1", service="web")


def test_each_goes_alone_on_a_subject_with_its_task_and_the_rest_in_a_batch() -> None:
    other = Event(id="e", kind="task.failed", at="", node="n1")
    told = messages_of("n1", (kept(1), other, kept(2)))
    assert [(subject, id_) for subject, _, id_ in told[:2]] == [
        ("mesh.event.postmortem.1-1-r1.n1.web", "1-postmortem"),
        ("mesh.event.postmortem.1-2-r1.n1.web", "2-postmortem"),
    ]
    assert decode(told[2][1], EventBatch).events == (other,)


def test_those_that_wait_are_bounded_and_the_loss_is_told() -> None:
    async def main() -> None:
        scene = Scene()
        journal = await scene.journal()
        for number in range(POST_MORTEMS_KEPT + 7):
            journal.add(kept(number))
        assert len(journal) == POST_MORTEMS_KEPT
        assert journal.dropped == 7
        while len(journal):
            assert await journal.send()
        operator = scene.broker.connect("operator").events
        assert await operator.find("mesh.event.postmortem.1-6-r1.*.*") is None
        assert await operator.find("mesh.event.postmortem.1-7-r1.*.*") is not None

    run(main())
