"""What only a real engine can do wrong: each with a text that a person can act on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from agent.engine import docker_line as module
from agent.engine.docker import DockerEngine
from agent.engine.labels import Owner
from agent.engine.model import EngineEvent, EventGap, PullProgress
from agent.engine.plans import LogQuery
from schemas.clock import SystemClock
from schemas.errors import EngineError, EngineUnavailable, ImageUnavailable
from schemas.ports import Port
from schemas.spec import Device, HealthCheck, LogDriver, Mount, Resources, Ulimit
from tests.contract.engine.conftest import DOES, IMAGE, Stage, chunks_of
from tests.contract.engine.dockerd import Dockerd

pytestmark = [
    pytest.mark.docker,
    # docker-py drops the socket of a connection that fails without closing it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FOREVER = DOES["sleeps"][0]


@pytest.fixture
def stage(docker_stage: Stage) -> Stage:
    return docker_stage


@pytest.fixture
def own_dockerd(archive: bytes) -> Iterator[Dockerd]:
    """An engine that the test may kill."""
    engine = Dockerd()
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


@pytest.fixture
async def own_stage(own_dockerd: Dockerd, archive: bytes) -> AsyncIterator[Stage]:
    engine = DockerEngine(own_dockerd.address, clock=SystemClock())
    await engine.load(chunks_of(archive))
    image = await engine.image(IMAGE)
    assert image is not None
    yield Stage(engine, Owner("m1", "n1"), "docker", dict.fromkeys(DOES, image.id), own_dockerd)
    await engine.close()


# starting


async def start_error(stage: Stage, **fields: object) -> EngineError:
    container = await stage.create("sleeps", **fields)
    with pytest.raises(EngineError) as caught:
        await stage.engine.start(container)
    view = await stage.engine.inspect(container)
    assert not view.alive
    assert view.error == caught.value.message
    return caught.value


async def test_a_command_that_is_not_in_the_image(stage: Stage) -> None:
    assert (await start_error(stage, command=("nosuch", "x"))).message == 'command "nosuch" is not in the image'
    assert (await start_error(stage, command=("/no/such",))).message == 'command "/no/such" is not in the image'
    error = await start_error(stage, command=("/etc",))
    assert error.message in (
        'command "/etc" in the image may not be executed',
        'command "/etc" is a directory in the image',
    )


async def test_a_user_that_is_not_in_the_image(stage: Stage) -> None:
    assert (await start_error(stage, user="bob")).message == 'user "bob" is not in the image'


async def test_a_device_that_is_not_there(stage: Stage) -> None:
    error = await start_error(stage, devices=(Device(source="/dev/nosuch", target="/dev/x"),))
    assert error.message == "device does not exist: /dev/nosuch"


async def test_limits_that_the_machine_can_not_give(stage: Stage) -> None:
    with pytest.raises(EngineError, match=r"^the CPU limit is too high: this node has \S+ CPUs$"):
        await stage.create("sleeps", limits=Resources(cpus=1000))
    with pytest.raises(EngineError, match=r"^the memory limit is too small: the engine wants at least \w+$"):
        await stage.create("sleeps", limits=Resources(memory=4096))


async def test_a_container_out_of_memory(stage: Stage) -> None:
    eater = "x=a; while :; do x=$x$x; done"
    container = await stage.run("sleeps", command=("sh", "-c", eater), limits=Resources(memory=8 << 20))
    view = await stage.until(container, "exited")
    assert (view.exit_code, view.oom_killed) == (137, True)


async def test_the_whole_breadth_of_a_spec_is_taken_by_the_engine(stage: Stage) -> None:
    mounts = (
        Mount(kind="volume", target="/anonymous"),
        Mount(kind="tmpfs", target="/memory", size=1 << 20, mode=0o700),
        Mount(kind="bind", source="/etc", target="/host", read_only=True),
        Mount(kind="bind", source=f"{stage.dockerd.folder if stage.dockerd else ''}/new", target="/new",
              create_host_path=True),
    )  # fmt: skip
    container = await stage.run(
        "sleeps",
        hostname="web-{{.Task.Slot}}",
        environment={"SLOT": "{{.Task.Slot}}"},
        user="0:0",
        working_dir="/tmp",
        init=True,
        stop_signal="SIGTERM",
        mounts=mounts,
        ports=(Port(target=80, host_ip="127.0.0.1"),),
        ulimits=(Ulimit(name="nofile", soft=64, hard=128),),
        cap_add=("NET_ADMIN",),
        cap_drop=("CHOWN",),
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
        read_only=True,
        security_opt=("no-new-privileges",),
        devices=(Device(source="/dev/null", target="/dev/nothing"),),
        shm_size=1 << 20,
        ipc="private",
        pid="host",
        group_add=("27",),
        oom_score_adj=100,
        dns=("127.0.0.1",),
        dns_search=("mesh",),
        dns_options=("timeout:2",),
        extra_hosts=("db:10.0.0.2",),
        logging=LogDriver(driver="json-file", options={"max-file": "2"}),
        healthcheck=HealthCheck(test=("NONE",)),
        limits=Resources(cpus=0.5, memory=32 << 20, pids=50),
        command=("sh", "-c", "hostname; echo $SLOT; pwd; ulimit -n; busybox id -G; echo oops >&2; " + FOREVER),
    )
    slot = (await stage.engine.inspect(container)).labels["mesh.slot"]
    texts: list[str] = []
    for _ in range(20):
        page = await stage.engine.logs(container, LogQuery(wait=1.0))
        texts = [f"{line.stream}: {line.text}" for line in page.lines]
        if len(texts) == 6:
            break
    assert sorted(texts) == sorted(
        [f"stdout: web-{slot}", f"stdout: {slot}", "stdout: /tmp", "stdout: 64", "stdout: 0 27", "stderr: oops"]
    )


async def test_a_terminals_log_is_read_by_line(stage: Stage) -> None:
    container = await stage.run("fails", tty=True, command=("sh", "-c", "echo one; echo two >&2; exit 0"))
    await stage.until(container, "exited")
    page = await stage.engine.logs(container, LogQuery())
    assert [(line.text, line.stream) for line in page.lines] == [("one", "stdout"), ("two", "stdout")]
    assert page.ended


async def test_a_log_of_many_lines_is_paged_without_loss(stage: Stage) -> None:
    script = "i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done"
    container = await stage.run("fails", command=("sh", "-c", script))
    texts: list[str] = []
    page = await stage.engine.logs(container, LogQuery(limit=700, wait=5.0))
    while True:
        texts += [line.text for line in page.lines]
        if page.ended:
            break
        page = await stage.engine.logs(container, LogQuery(cursor=page.cursor, limit=700, wait=5.0))
    assert texts == [str(number) for number in range(5000)]


# images


async def test_a_registry_that_can_not_be_reached(stage: Stage) -> None:
    steps: list[PullProgress] = []
    with pytest.raises(ImageUnavailable, match=r"^image nosuch:1: the registry's name \S+ can't be resolved"):
        await stage.engine.pull("nosuch:1", progress=steps.append)
    with pytest.raises(ImageUnavailable, match=r"the registry at \S+ can't be reached: connection refused$"):
        await stage.engine.pull("127.0.0.1:9/nosuch:1")
    with pytest.raises(ImageUnavailable, match="not an image reference"):
        await stage.engine.pull("No Such:1")


# the engine itself


async def test_nobody_listens_on_the_socket() -> None:
    engine = DockerEngine("unix:///no/such/socket", clock=SystemClock())
    with pytest.raises(EngineUnavailable, match=r"does not answer at unix:///no/such/socket: no such socket$"):
        await engine.info()
    await engine.close()


async def test_a_hanging_engine_is_told_and_used_again_when_it_goes_on(
    own_stage: Stage, own_dockerd: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await own_stage.run("sleeps")
    monkeypatch.setattr(module, "LOOK", 1.0)
    await asyncio.to_thread(own_dockerd.signal, signal.SIGSTOP)
    try:
        failures: list[EngineUnavailable] = []

        async def look() -> None:
            try:
                await own_stage.engine.inspect(container)
            except EngineUnavailable as error:
                failures.append(error)

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(look())
        assert len(failures) == 30
        assert "did not answer within 1 s" in failures[0].message
    finally:
        await asyncio.to_thread(own_dockerd.signal, signal.SIGCONT)
    for _ in range(20):
        await look()
        if len(failures) == 30:
            break
        failures.pop()
        await asyncio.sleep(0.2)
    assert (await own_stage.engine.inspect(container)).state == "running"


async def test_events_go_on_after_the_engine_was_restarted(own_stage: Stage, own_dockerd: Dockerd) -> None:
    container = await own_stage.create("sleeps")
    gaps = 0
    async with asyncio.timeout(60), aclosing(own_stage.engine.events(own_stage.owner)) as events:  # type: ignore[type-var]
        async for event in events:
            match event:
                case EventGap():
                    gaps += 1
                    if gaps == 1:
                        await asyncio.to_thread(own_dockerd.kill)
                        with pytest.raises(EngineUnavailable):
                            await own_stage.engine.info()
                        await asyncio.to_thread(own_dockerd.start)
                    else:
                        await own_stage.engine.start(container)
                case EngineEvent(action="start"):
                    assert event.container == container
                    break
    assert gaps == 2


async def test_containers_of_an_engine_that_died_are_found_ended(own_stage: Stage, own_dockerd: Dockerd) -> None:
    container = await own_stage.run("sleeps")
    assert [view.state for view in await own_stage.engine.containers(own_stage.owner)] == ["running"]
    await asyncio.to_thread(own_dockerd.kill)
    await asyncio.to_thread(own_dockerd.start)
    (view,) = await own_stage.engine.containers(own_stage.owner)
    assert view.id == container
    assert view.state == "exited"
    assert view.exit_code is not None


async def test_a_full_disk_is_told_and_what_runs_goes_on(archive: bytes) -> None:
    dockerd = Dockerd(limit="16m")
    await asyncio.to_thread(dockerd.start)
    engine = DockerEngine(dockerd.address, clock=SystemClock())
    try:
        await engine.load(chunks_of(archive))
        image = await engine.image(IMAGE)
        assert image is not None
        stage = Stage(engine, Owner("m1", "n1"), "docker", dict.fromkeys(DOES, image.id), dockerd)
        container = await stage.run("sleeps")
        eater = await stage.run("sleeps", command=("sh", "-c", "cat /dev/zero > /big"))
        await stage.until(eater, "exited")
        facts = await engine.info()
        assert facts.disk_total == 0 or facts.disk_free < facts.disk_total
        with pytest.raises(EngineError, match=r"^the engine's disk is full: no space left on device$"):
            await stage.run("sleeps")
        with pytest.raises(EngineError, match=r"^the engine's disk is full: no space left on device$"):
            await engine.load(chunks_of(archive))
        assert (await engine.inspect(container)).state == "running"
        await engine.remove(eater)
        await stage.run("sleeps")
    finally:
        await engine.close()
        await asyncio.to_thread(dockerd.remove)
