"""Requests to an agent: logs, images, volumes; garbage is answered, too."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from agent.engine.memory_life import Program
from agent.image_requests import repository_of
from schemas import subjects
from schemas.errors import BadMessage, NotFound, Refused
from schemas.nodeapi import (
    Done,
    ImageList,
    ListImages,
    LoadAnswer,
    LoadChunk,
    LogPage,
    ReadLogs,
    RemoveVolume,
    ResolvedImage,
    ResolveImage,
)
from schemas.spec import Mount
from tests.unit.agent.rehearsal import NODE, Rehearsal, assigned, play, spec_of


def test_logs_come_in_pages_of_running_and_of_ended_tasks() -> None:
    async def scene(stage: Rehearsal) -> None:
        lines = tuple(f"line {n}" for n in range(5))
        stage.engine.add_image("talks:1", Program(lines=lines))
        spec = spec_of("talks:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            page = await stage.ask("logs", ReadLogs(task="1-1"), LogPage)
            assert [line.text for line in page.lines] == list(lines)
            assert not page.ended
            tail = await stage.ask("logs", ReadLogs(task="1-1", tail=2), LogPage)
            assert [line.text for line in tail.lines] == ["line 3", "line 4"]
            empty = await stage.ask("logs", ReadLogs(task="1-1", cursor=page.cursor, wait=2), LogPage)
            assert (empty.lines, empty.ended) == ((), False)
            await stage.put(specs=[])
            await stage.until(lambda: not stage.alive())
            await asyncio.sleep(15)
            late = await stage.ask("logs", ReadLogs(task="1-1"), LogPage)
            assert len(late.lines) == 5
            assert late.ended

    play(scene)


def test_the_log_of_an_unknown_task_is_not_found() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await asyncio.sleep(2)
            with pytest.raises(NotFound, match="1-7"):
                await stage.ask("logs", ReadLogs(task="1-7"), LogPage)

    play(scene)


def test_garbage_on_every_subject_is_answered_and_hurts_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await asyncio.sleep(2)
            for verb in ("logs", "image_resolve", "image_list", "image_load", "volume_remove"):
                for garbage in (b"", b"\xff\xfe", b"[1,2", b'{"task": 7, "name": [], "image": {}, "transfer": 1}'):
                    if verb != "image_list":
                        with pytest.raises(BadMessage):
                            await stage.ask(verb, garbage, LogPage)
                    await stage.leader.bus.core.publish(subjects.node_request(NODE, verb), garbage)
            spec = spec_of()
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")

    play(scene)


def test_requests_are_answered_side_by_side() -> None:
    async def scene(stage: Rehearsal) -> None:
        spec = spec_of()
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            begun = stage.clock.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(stage.ask("logs", ReadLogs(task="1-1", wait=10), LogPage))
            assert stage.clock.monotonic() - begun < 12

    play(scene)


def test_an_image_comes_in_chunks_and_is_checked() -> None:
    async def scene(stage: Rehearsal) -> None:
        other = Rehearsal().engine
        other.add_image("app:2")
        archive = b"".join([chunk async for chunk in other.save("app:2")])
        digest = hashlib.sha256(archive).hexdigest()
        pieces = [archive[at : at + 1000] for at in range(0, len(archive), 1000)]
        async with stage.agent() as agent:
            await asyncio.sleep(2)
            answer = LoadAnswer(received=0)
            for index, piece in enumerate(pieces):
                last = index == len(pieces) - 1
                chunk = LoadChunk(transfer="t1", index=index, data=piece, last=last, sha256=digest if last else "")
                answer = await stage.ask("image_load", chunk, LoadAnswer)
                again = await stage.ask("image_load", chunk, LoadAnswer)
                assert again == answer
            assert answer == LoadAnswer(received=len(pieces), images=("app:2",))
            found = await stage.ask("image_resolve", ResolveImage(image="app:2", pull="never"), ResolvedImage)
            assert found.present
            assert found.image_id in agent.brought.images
            assert not [name for name in stage.files.content if name.startswith("load-")]

    play(scene)


def test_a_damaged_image_is_refused_and_a_transfer_may_be_begun_again() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await asyncio.sleep(2)
            with pytest.raises(Refused, match="SHA-256"):
                await stage.ask("image_load", LoadChunk(transfer="t1", index=0, data=b"x", last=True), LoadAnswer)
            with pytest.raises(Refused, match="not known"):
                await stage.ask("image_load", LoadChunk(transfer="t1", index=3, data=b"x"), LoadAnswer)
            assert not [name for name in stage.files.content if name.startswith("load-")]

    play(scene)


def test_a_chunk_that_comes_too_early_is_answered_with_how_many_are_here() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await asyncio.sleep(2)
            await stage.ask("image_load", LoadChunk(transfer="t1", index=0, data=b"x"), LoadAnswer)
            answer = await stage.ask("image_load", LoadChunk(transfer="t1", index=5, data=b"x"), LoadAnswer)
            assert answer == LoadAnswer(received=1)

    play(scene)


def test_an_image_is_resolved_to_its_identity() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await asyncio.sleep(2)
            here = await stage.ask("image_resolve", ResolveImage(image="web:1", pull="always"), ResolvedImage)
            assert here.present
            assert here.image_id.startswith("sha256:")
            gone = await stage.ask("image_resolve", ResolveImage(image="nowhere:1"), ResolvedImage)
            assert not gone.present
            assert "nowhere:1" in gone.error
            listed = await stage.ask("image_list", ListImages(), ImageList)
            assert [one.tags for one in listed.images] == [("web:1",)]

    play(scene)


def test_a_volume_is_removed_even_if_a_kept_container_of_a_removed_service_had_it() -> None:
    async def scene(stage: Rehearsal) -> None:
        spec = spec_of(mounts=(Mount(kind="volume", source="data", target="/data"),))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")

            async def told() -> bool:
                record = await stage.observation()
                return record is not None and record.volumes == ("data",)

            await stage.until(told)
            with pytest.raises(Exception, match="used by"):
                await stage.ask("volume_remove", RemoveVolume(name="data"), Done)
            await stage.put(specs=[])
            await asyncio.sleep(20)
            await stage.ask("volume_remove", RemoveVolume(name="data"), Done)
            await asyncio.sleep(5)
            record = await stage.observation()
            assert record is not None
            assert record.volumes == ()

    play(scene)


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("web", "docker.io/library/web"),
        ("web:1.2", "docker.io/library/web"),
        ("team/web:1.2", "docker.io/team/web"),
        ("localhost:5000/web", "localhost:5000/web"),
        ("registry.example/team/web@sha256:abc", "registry.example/team/web"),
    ],
)
def test_the_repository_of_a_reference(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository
