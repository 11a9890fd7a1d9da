"""What every engine adapter promises: the same tests on the real engine and on the one in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from agent.engine.archive import build_archive
from agent.engine.labels import Owner
from agent.engine.memory import MemoryEngine
from agent.engine.model import EngineEvent, EventGap
from agent.engine.plans import LogQuery, VolumePlan
from agent.engine.setups import planned_setup
from schemas.errors import Conflict, EngineError, ImageUnavailable, MeshError, NotFound, Refused
from schemas.ports import Port
from schemas.spec import Mount, Resources
from tests.contract.engine.conftest import IMAGE, Stage, chunks_of

CONFIG = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}'


async def test_a_container_is_created_started_and_stopped(stage: Stage) -> None:
    container = await stage.create("sleeps")
    created = await stage.engine.inspect(container)
    assert (created.state, created.exit_code, created.started_at) == ("created", None, 0.0)
    await stage.engine.start(container)
    running = await stage.engine.inspect(container)
    assert running.state == "running"
    assert running.alive
    assert running.started_at >= running.created_at > 0
    await stage.engine.stop(container, grace=10)
    stopped = await stage.engine.inspect(container)
    assert (stopped.state, stopped.exit_code, stopped.oom_killed) == ("exited", 0, False)
    assert stopped.ended
    assert stopped.finished_at >= stopped.started_at


async def test_a_container_carries_name_labels_image_and_grace(stage: Stage) -> None:
    plan = stage.plan("sleeps", labels={"tier": "front"}, stop_grace=7.0)
    container = await stage.engine.create(plan)
    stage.made.append(container)
    view = await stage.engine.inspect(container)
    assert view.name == plan.name
    assert view.labels["tier"] == "front"
    assert view.labels["mesh.id"] == "m1"
    assert view.image == plan.image
    assert view.stop_grace == 7.0


async def test_creating_the_same_again_gives_the_same_container(stage: Stage) -> None:
    plan = stage.plan("sleeps")
    first = await stage.engine.create(plan)
    stage.made.append(first)
    assert await stage.engine.create(plan) == first


async def test_a_name_taken_by_another_container_is_a_conflict(stage: Stage) -> None:
    plan = stage.plan("sleeps")
    stage.made.append(await stage.engine.create(plan))
    other = stage.plan("sleeps", labels={"other": "one"})
    taken = type(plan)(plan.name, other.image, other.labels, other.body)
    with pytest.raises(Conflict, match=f"name {plan.name} is taken"):
        await stage.engine.create(taken)


async def test_starting_twice_and_stopping_twice_is_fine(stage: Stage) -> None:
    container = await stage.run("sleeps")
    await stage.engine.start(container)
    await stage.engine.stop(container)
    await stage.engine.stop(container)
    await stage.engine.kill(container)


async def test_a_container_that_ignores_the_stop_signal_is_killed_after_its_grace(stage: Stage) -> None:
    container = await stage.run("is stubborn")
    begin = asyncio.get_running_loop().time()
    await stage.engine.stop(container, grace=1.0)
    assert 0.9 <= asyncio.get_running_loop().time() - begin < 8
    assert (await stage.engine.inspect(container)).exit_code == 137


async def test_a_container_that_ends_by_itself_tells_its_exit_code(stage: Stage) -> None:
    container = await stage.run("fails")
    ended = await stage.until(container, "exited")
    assert ended.exit_code == 3
    page = await stage.engine.logs(container, LogQuery(tail=10))
    assert [line.text for line in page.lines] == ["oh no"]
    assert page.ended


async def test_health_is_told(stage: Stage) -> None:
    container = await stage.run("gets healthy")
    assert (await stage.engine.inspect(container)).health == "starting"
    assert (await stage.until(container, "healthy")).state == "running"


async def test_only_an_owners_containers_are_listed(stage: Stage) -> None:
    mine = await stage.run("sleeps")
    neighbour = Stage(stage.engine, Owner("m1", "n2"), stage.kind, stage.images)
    other = await neighbour.create("sleeps")
    stage.made.append(other)
    assert mine in [view.id for view in await stage.engine.containers(stage.owner)]
    assert [view.id for view in await stage.engine.containers(neighbour.owner)] == [other]


async def test_the_list_is_as_fresh_as_an_inspection(stage: Stage) -> None:
    container = await stage.run("gets healthy")

    async def listed() -> object:
        return next(view for view in await stage.engine.containers(stage.owner) if view.id == container)

    assert await listed() == await stage.engine.inspect(container)
    await stage.until(container, "healthy")
    assert await listed() == await stage.engine.inspect(container)
    await stage.engine.stop(container, grace=5)
    assert await listed() == await stage.engine.inspect(container)


async def test_a_removed_container_is_gone_and_removing_it_again_is_fine(stage: Stage) -> None:
    container = await stage.run("sleeps")
    with pytest.raises((Conflict, EngineError), match="runs"):
        await stage.engine.remove(container)
    await stage.engine.remove(container, force=True)
    await stage.engine.remove(container)
    with pytest.raises(NotFound, match="no such container"):
        await stage.engine.inspect(container)
    for change in (stage.engine.start, stage.engine.stop, stage.engine.kill):
        with pytest.raises(NotFound):
            await change(container)


async def test_ports_are_picked_by_the_engine_and_told(stage: Stage) -> None:
    container = await stage.run("sleeps", ports=(Port(target=80), Port(target=53, protocol="udp")))
    ports = (await stage.engine.inspect(container)).ports
    assert [(port.target, port.protocol) for port in ports] == [(53, "udp"), (80, "tcp")]
    assert all(port.published >= 1024 for port in ports)


async def test_a_taken_port_is_told_when_starting(stage: Stage) -> None:
    await stage.run("sleeps", ports=(Port(target=80, published=18080),))
    second = await stage.create("sleeps", ports=(Port(target=80, published=18080),))
    with pytest.raises(EngineError, match=r"^port 18080\S* is already taken on this node$"):
        await stage.engine.start(second)
    view = await stage.engine.inspect(second)
    assert not view.alive


async def test_the_engine_picks_a_free_port_of_a_range(stage: Stage) -> None:
    ports = (Port(target=80, published=18090, published_last=18091),)
    pair = [await stage.run("sleeps", ports=ports) for _ in range(2)]
    bound = [port.published for each in pair for port in (await stage.engine.inspect(each)).ports]
    assert sorted(bound) == [18090, 18091]
    third = await stage.create("sleeps", ports=ports)
    with pytest.raises(EngineError, match=r"^no free host port is left on this node$"):
        await stage.engine.start(third)
    await stage.engine.remove(pair[0], force=True)
    await stage.engine.start(third)
    assert [port.published for port in (await stage.engine.inspect(third)).ports] == [bound[0]]


async def test_ports_of_other_containers_are_told(stage: Stage) -> None:
    await stage.run("sleeps", ports=(Port(target=80, published=18081),))
    assert 18081 not in {port.published for port in await stage.engine.other_ports(stage.owner)}
    assert 18081 in {port.published for port in await stage.engine.other_ports(Owner("m1", "other"))}


async def test_named_volumes_are_made_and_kept(stage: Stage) -> None:
    mount = Mount(kind="volume", source="data-{{.Task.Slot}}", target="/data", labels={"use": "test"})
    container = await stage.run("sleeps", mounts=(mount,))
    slot = (await stage.engine.inspect(container)).labels["mesh.slot"]
    volume = next(each for each in await stage.engine.volumes() if each.name == f"data-{slot}")
    assert dict(volume.labels)["use"] == "test"
    with pytest.raises((Conflict, EngineError), match="used by container"):
        await stage.engine.remove_volume(volume.name)
    await stage.engine.remove(container, force=True)
    await stage.engine.remove_volume(volume.name)
    assert volume.name not in {each.name for each in await stage.engine.volumes()}
    with pytest.raises(NotFound, match="no such volume"):
        await stage.engine.remove_volume(volume.name)


async def test_an_external_volume_is_never_made(stage: Stage) -> None:
    mount = Mount(kind="volume", source="theirs", target="/data", external=True)
    with pytest.raises(EngineError, match=r"external volume theirs does not exist on this node"):
        await stage.create("sleeps", mounts=(mount,))
    assert "theirs" not in {each.name for each in await stage.engine.volumes()}
    await stage.engine.create_volume(VolumePlan("theirs"))
    await stage.engine.create_volume(VolumePlan("theirs"))
    container = await stage.create("sleeps", mounts=(mount,))
    await stage.engine.remove(container)
    await stage.engine.remove_volume("theirs")


async def test_a_missing_bind_path_is_told(stage: Stage) -> None:
    assert not await stage.engine.path_exists("/no/such/path")
    mount = Mount(kind="bind", source="/no/such/path", target="/data")
    with pytest.raises(EngineError, match=r"^bind source path does not exist: /no/such/path$"):
        await stage.create("sleeps", mounts=(mount,))


async def test_an_image_that_is_not_there_is_told(stage: Stage) -> None:
    plan = stage.plan("sleeps")
    missing = "sha256:" + "0" * 64
    body = {**plan.body, "Image": missing}
    with pytest.raises(ImageUnavailable, match="no such image"):
        await stage.engine.create(type(plan)(plan.name, missing, plan.labels, body))
    assert await stage.engine.image("no-such-image:1") is None


async def test_an_image_that_nobody_has_can_not_be_pulled(stage: Stage) -> None:
    with pytest.raises(ImageUnavailable, match=r"^image no-such-image:1: "):
        await stage.engine.pull("no-such-image:1")


async def test_images_are_found_by_tag_and_id(stage: Stage) -> None:
    image = await stage.engine.image(IMAGE)
    assert image is not None
    assert IMAGE in image.tags
    assert await stage.engine.image(image.id) == image
    assert image.id in {each.id for each in await stage.engine.images()}


async def test_an_image_in_use_is_not_removed(stage: Stage) -> None:
    container = await stage.create("sleeps")
    view = await stage.engine.inspect(container)
    with pytest.raises(Conflict, match=f"is used by container {view.name}"):
        await stage.engine.remove_image(view.image)
    assert await stage.engine.image(view.image) is not None


async def test_an_image_is_found_by_its_config_and_removed_with_its_tags(stage: Stage) -> None:
    data = build_archive(CONFIG, ("gone:1", "gone:2"))
    assert sorted(await stage.engine.load(chunks_of(data))) == ["gone:1", "gone:2"]
    image = await stage.engine.image("gone:1")
    assert image is not None
    digest = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
    assert await stage.engine.image(digest) == image
    assert image.id_is_config == (image.id == digest)
    await stage.engine.remove_image(image.id)
    await stage.engine.remove_image(image.id)
    assert await stage.engine.image("gone:2") is None


async def test_a_saved_image_can_be_loaded_again(stage: Stage) -> None:
    before = await stage.engine.image(IMAGE)
    data = b"".join([chunk async for chunk in stage.engine.save(IMAGE)])
    assert await stage.engine.load(chunks_of(data)) == (IMAGE,)
    assert await stage.engine.image(IMAGE) == before


async def test_garbage_is_no_image_archive(stage: Stage) -> None:
    with pytest.raises(MeshError):
        await stage.engine.load(chunks_of(b"this is no archive " * 1000))


async def test_a_load_that_is_given_up_fails(stage: Stage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"\0" * 512
        raise ConnectionError("the sender is gone")

    with pytest.raises(Exception, match="the sender is gone"):
        await stage.engine.load(broken())


async def test_a_reader_of_an_archive_may_stop_early(stage: Stage) -> None:
    async with aclosing(stage.engine.save(IMAGE)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            assert chunk
            break


async def test_logs_are_read_page_by_page_without_loss_or_repetition(stage: Stage) -> None:
    container = await stage.run("counts")
    texts: list[str] = []
    cursor = ""
    for _ in range(10):
        page = await stage.engine.logs(container, LogQuery(cursor=cursor, limit=2, wait=2.0 if len(texts) < 5 else 0.0))
        assert not page.ended
        assert len(page.lines) <= 2
        texts += [line.text for line in page.lines]
        cursor = page.cursor
    assert texts == [f"line {number}" for number in range(1, 6)]
    assert [line.text for line in (await stage.engine.logs(container, LogQuery(tail=2))).lines] == ["line 4", "line 5"]
    nothing = await stage.engine.logs(container, LogQuery(tail=0))
    assert nothing.lines == ()
    assert (await stage.engine.logs(container, LogQuery(cursor=nothing.cursor))).lines == ()


async def test_events_tell_a_containers_life(stage: Stage) -> None:
    container = await stage.create("fails")
    seen: list[EngineEvent | EventGap] = []
    async with asyncio.timeout(20), aclosing(stage.engine.events(stage.owner)) as events:  # type: ignore[type-var]
        async for event in events:
            seen.append(event)
            if isinstance(event, EventGap):
                await stage.engine.start(container)
            elif event.container == container and event.action == "die":
                assert event.exit_code == 3
                assert event.labels["mesh.service"] == "web"
                break
    assert isinstance(seen[0], EventGap)
    assert "start" in [
        event.action for event in seen if isinstance(event, EngineEvent) and event.container == container
    ]


async def test_a_container_that_is_not_ours_is_never_touched(stage: Stage) -> None:
    stranger = await stage.make_stranger()
    for change in (stage.engine.start, stage.engine.stop, stage.engine.kill, stage.engine.remove):
        with pytest.raises(Refused, match="left alone"):
            await change(stranger)
    assert (await stage.engine.inspect(stranger)).state == "running"


async def test_facts_are_told(stage: Stage) -> None:
    facts = await stage.engine.info()
    assert facts.version
    assert facts.os == "linux"
    assert facts.cpus >= 1
    assert facts.memory > 0


async def test_a_setup_is_as_planned_and_shows_what_was_changed_by_hand(stage: Stage) -> None:
    plan = stage.plan("sleeps", limits=Resources(cpus=0.5, memory=64 << 20))
    container = await stage.engine.create(plan)
    stage.made.append(container)
    await stage.engine.start(container)
    assert await stage.engine.setup(container) == planned_setup(plan)
    await stage.change_by_hand(container, name=f"{plan.name}-x", memory=128 << 20)
    seen = await stage.engine.setup(container)
    assert (seen.name, seen.memory, seen.cpus) == (f"{plan.name}-x", 128 << 20, 0.5)
    await stage.pause(container)
    assert (await stage.engine.setup(container)).state == "paused"
    with pytest.raises(NotFound):
        await stage.engine.setup("absent")


async def test_files_that_differ_from_the_image_are_told(stage: Stage) -> None:
    container = await stage.run("gets healthy")
    await stage.until(container, "healthy")
    if isinstance(stage.engine, MemoryEngine):
        stage.engine.life(container).files = ("A /tmp/healthy",)
    assert "A /tmp/healthy" in await stage.engine.changed_files(container)


async def test_who_told_a_container_to_end_is_known(stage: Stage) -> None:
    by_hand, by_us, by_itself = await stage.run("sleeps"), await stage.run("sleeps"), await stage.run("ends")
    await stage.stop_by_hand(by_hand)
    await stage.engine.stop(by_us)
    found = [await stage.until(one, "exited") for one in (by_hand, by_us, by_itself)]
    assert {view.exit_code for view in found} == {0}
    assert {view.id for view in found if view.told_to_end} == {by_hand}
    listed = await stage.engine.containers(stage.owner)
    assert {view.id for view in listed if view.told_to_end} == {by_hand}
