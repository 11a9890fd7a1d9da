"""Commands end to end on a scripted mesh: what they ask, what they print, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import subjects
from schemas.api import (
    DeployAnswer,
    Deployed,
    DeployStack,
    ListTasks,
    NodeList,
    NodeView,
    ServiceList,
    ServiceView,
    StackList,
    StackView,
    Status,
    TaskDetail,
    TaskList,
    TaskView,
    VolumeList,
    VolumeView,
    Written,
)
from schemas.errors import Conflict, EngineError, NotFound, Refused
from schemas.events import Event
from schemas.nodeapi import Done, ImageList, ImageView, LoadAnswer, LoadChunk, LogLine, LogPage, ReadLogs
from schemas.postmortem import PostMortem
from schemas.records import BrakeRecord, Reason, RolloutRecord, ServiceRecord
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.wire import encode

COMPOSE = """
services:
  web:
    image: hello:1
    deploy: {replicas: 2, update_config: {monitor: 0s}}
"""

NOW = 1_790_000_000.0


def node(name: str, status: str = "ready", **fields: Any) -> NodeView:
    return NodeView(node=name, status=status, availability=fields.pop("availability", "active"), **fields)


def service(name: str = "hello_web", running: int = 2, desired: int = 2, **rollout: Any) -> ServiceView:
    spec = ServiceSpec(
        name=name,
        task=TaskSpec(container=ContainerSpec(image="hello:1", image_id="sha256:abc")),
        update=UpdatePolicy(monitor=0.0),
    )
    fields = {"intent": 5, "wanted": desired, "running": running, "updated": desired, "phase": "done", **rollout}
    return ServiceView(
        record=ServiceRecord(name=name, stack="hello", target=1, replicas=desired),
        spec=spec,
        sequence=5,
        rollout=RolloutRecord(service=name, **fields),
        running=running,
        desired=desired,
    )


def task(slot: str, state: str = "running", **fields: Any) -> TaskView:
    values = {
        "id": f"a-{slot}",
        "service": "hello_web",
        "stack": "hello",
        "node": "n1",
        "image": "sha256:abc",
        "container": f"c{slot}ffff",
    }
    return TaskView(**{**values, "slot": slot, "state": state, "revision": 1, **fields})


def deployed(change: str = "created") -> DeployAnswer:
    return DeployAnswer(sequence=5, services=(Deployed(service="hello_web", change=change, revision=1, deploy=1),))


@pytest.fixture
def mesh(scripted):  # type: ignore[no-untyped-def]
    scripted.answer("node.list", NodeList(nodes=(node("n1"), node("n2"), node("n3", "down", why="no heartbeat"))))
    scripted.answer("service.list", ServiceList(services=(service(),)))
    scripted.answer("stack.list", StackList(stacks=(StackView(stack="hello", revision=1, services={"hello_web": 1}),)))
    scripted.answer("task.list", TaskList(tasks=(task("1"), task("2", node="n2"))))
    for name in ("node.update", "node.remove", "order.give", "service.scale", "service.remove", "stack.remove"):
        scripted.answer(name, Written(sequence=6))
    return scripted


@pytest.fixture
def compose(tmp_path: Path) -> str:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE)
    return str(file)


# stacks


def test_stack_deploy_waits_and_tells_how_long_it_took(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", deployed())
    ran = mesh.run("stack", "deploy", "-c", compose, "hello")
    assert ran.out.splitlines()[:2] == ["Creating service hello_web", "hello_web: 2/2 running"]
    assert ran.out.splitlines()[2].startswith("Stack hello runs: 1 service, ")
    (request,) = mesh.requests("stack.deploy")
    assert isinstance(request, DeployStack)
    assert (request.stack, request.prune, request.resolve_image) == ("hello", False, "always")
    assert [(each.spec.name, each.replicas) for each in request.services] == [("hello_web", 2)]


def test_stack_deploy_detached_asks_nothing_more(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", deployed("unchanged"))
    ran = mesh.run("stack", "deploy", "-d", "--prune", "--resolve-image", "never", "-c", compose, "hello")
    assert ran.out == "Service hello_web is unchanged\n"
    assert [name for name, _ in mesh.asked] == ["stack.deploy"]
    assert mesh.requests("stack.deploy")[0].prune


def test_stack_deploy_reads_stdin(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", deployed())
    assert mesh.run("stack", "deploy", "-d", "-c", "-", "hello", stdin=COMPOSE).code == 0
    assert mesh.requests("stack.deploy")[0].services[0].spec.task.container.image == "hello:1"


def test_a_deploy_that_is_too_late_exits_7_and_names_each_lagging_slot(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", deployed())
    mesh.answer("service.list", ServiceList(services=(service(running=1, updated=1, phase="converging"),)))
    waiting = task("2", "pending", id="", node="", container="", why="3 nodes: 3 lack memory")
    mesh.answer("task.list", TaskList(tasks=(task("1"), waiting)))
    ran = mesh.run("stack", "deploy", "--timeout", "1ms", "-c", compose, "hello")
    assert ran.code == 7
    assert "  hello_web.2: Pending: 3 nodes: 3 lack memory" in ran.err
    assert "error: not all runs after 1ms: hello_web 1 of 2" in ran.err


def test_three_ends_of_a_slot_exit_8_with_the_last_log_lines(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", deployed())
    ends = [task("1", "failed", id=f"a-{n}", exit_code=3, desired="shutdown", log_tail=("boom",)) for n in range(3)]
    mesh.answer("task.list", TaskList(tasks=tuple(ends)))
    ran = mesh.run("stack", "deploy", "-c", compose, "hello")
    assert ran.code == 8
    assert "  | boom" in ran.err
    assert "error: hello_web.1 ended 3 times: exit code 3" in ran.err


def test_what_the_mesh_refuses_is_told_with_its_hint(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("stack.deploy", Conflict("service hello_web belongs to stack other", hint="choose another name"))
    ran = mesh.run("stack", "deploy", "-c", compose, "hello")
    assert (ran.err, ran.code) == ("error: service hello_web belongs to stack other\nhint: choose another name", 5)


def test_a_bad_compose_file_tells_every_fault_with_its_line(mesh, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "bad.yaml"
    file.write_text("services:\n  web:\n    imag: x\n    image: hello:1\n    replicas: 2\n")
    ran = mesh.run("stack", "deploy", "-c", str(file), "hello")
    assert ran.code == 2
    assert "bad.yaml:3" in ran.err
    assert "bad.yaml:5" in ran.err
    assert mesh.asked == []


def test_stack_config_asks_no_mesh(mesh, compose: str) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("stack", "config", "-c", compose, "hello")
    assert "image: hello:1" in ran.out
    assert mesh.asked == []


def test_stack_rm_waits_until_nothing_is_left(mesh) -> None:  # type: ignore[no-untyped-def]
    left = iter([(task("1", "stopping"),), ()])
    mesh.answer("task.list", lambda request: TaskList(tasks=next(left)))
    ran = mesh.run("stack", "rm", "hello")
    assert (ran.out, ran.code) == ("Removing service hello_web\n", 0)
    assert len(mesh.requests("task.list")) == 2


def test_an_unknown_stack_names_the_nearest(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("task.list", TaskList(tasks=()))
    for command in (("ps", "helo"), ("rm", "helo")):
        ran = mesh.run("stack", *command)
        assert (ran.err, ran.code) == ("error: there is no stack 'helo'\nhint: did you mean 'hello'?", 4)


def test_stack_ps_filters_and_shows_names_of_images(mesh) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("stack", "ps", "hello", "-f", "node=n2", "--format", "{{.ID}} {{.Name}} {{.Image}}")
    assert ran.out == "a-2 hello_web.2 hello:1\n"
    assert isinstance(mesh.requests("task.list")[0], ListTasks)
    assert mesh.run("stack", "ps", "hello", "-f", "desired-state=gone").code == 2


# services


def test_scaling_tells_and_waits(mesh) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("service", "scale", "hello_web=2")
    assert ran.out.splitlines()[0] == "hello_web scaled to 2"
    assert mesh.requests("service.scale")[0].replicas == {"hello_web": 2}


def test_an_unknown_service_is_refused_before_anything_is_written(mesh) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("service", "rm", "web")
    assert (ran.code, mesh.requests("service.remove")) == (4, [])
    assert "did you mean 'hello_web'?" in ran.err


def test_logs_of_all_tasks_come_in_the_order_of_time(mesh) -> None:  # type: ignore[no-untyped-def]
    def pages(*lines: tuple[str, str]):  # type: ignore[no-untyped-def]
        def answer(request: ReadLogs) -> LogPage:
            start = int(request.cursor or 0)
            page = tuple(LogLine(at=at, text=text) for at, text in lines[start : start + 2])
            return LogPage(lines=page, cursor=str(start + 2), ended=start + 2 >= len(lines))

        return answer

    mesh.answer("n1/logs", pages(("1", "one"), ("3", "three"), ("6", "six")))
    mesh.answer("n2/logs", pages(("2", "two"), ("4", "four"), ("5", "five")))
    assert mesh.run("service", "logs", "--raw", "hello_web").out == "one\ntwo\nthree\nfour\nfive\nsix\n"
    labelled = mesh.run("service", "logs", "-t", "hello_web").out.splitlines()
    assert labelled[:2] == ["hello_web.1.a-1@n1 | 1 one", "hello_web.2.a-2@n2 | 2 two"]
    assert mesh.run("service", "logs", "--raw", "a-2").out == "two\nfour\nfive\n"


def test_logs_that_can_not_be_read_are_warned_of_and_the_rest_is_shown(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("n1/logs", EngineError("the engine does not answer"))
    mesh.answer("n2/logs", LogPage(lines=(LogLine(at="1", text="one"),), ended=True))
    ran = mesh.run("service", "logs", "--raw", "hello_web")
    assert ran.out == "one\n"
    assert ran.err == "warning: hello_web.1 (a-1): the engine does not answer\n"


def test_logs_of_nobody_are_not_found(mesh) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("service", "logs", "hello_wep")
    assert (ran.code, "did you mean 'hello_web'?" in ran.err) == (4, True)


def test_tasks_are_found_by_id_prefix_name_and_container(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("task.inspect", lambda request: TaskDetail(task=task(request.task.removeprefix("a-"))))
    for text in ("a-1", "hello_web.1", "c1ff"):
        assert mesh.run("task", "inspect", text, "--format", "{{.Task.ID}}").out == "a-1\n"
    ran = mesh.run("task", "inspect", "a-")
    assert ran.code == 2
    assert ran.err == "error: 'a-' means 2 tasks\nhint: write more of it: a-1 (hello_web.1), a-2 (hello_web.2)"
    assert mesh.run("task", "inspect", "zz").code == 4


def test_moments_of_a_task_are_told_as_times(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("task.inspect", lambda request: TaskDetail(task=msgspec.structs.replace(task(request.task), since=1.5)))
    told = json.loads(mesh.run("task", "inspect", "a-1").out)[0]
    assert told["task"]["since"] == "1970-01-01T00:00:01.500Z"


def test_a_task_that_nobody_remembers_is_told_by_its_post_mortem(mesh) -> None:  # type: ignore[no-untyped-def]
    found = PostMortem(task="zz-9", exit_code=3, log=(LogLine(at="x", text="cannot open config"),))
    event = Event(id="e", kind="task.postmortem", at="x", task="zz-9", data=msgspec.to_builtins(found))

    async def fill(bus) -> None:  # type: ignore[no-untyped-def]
        await bus.events.append(subjects.post_mortem("zz-9", "n1", "web"), encode(event), "e")

    mesh.prepare.append(fill)
    told = json.loads(mesh.run("task", "inspect", "zz-9").out)[0]
    assert (told["id"], told["post_mortem"]["exit_code"]) == ("zz-9", 3)
    assert told["post_mortem"]["log"][0]["text"] == "cannot open config"
    assert mesh.run("task", "inspect", "zz").code == 4


# nodes


@pytest.mark.parametrize(
    ("word", "availability"), [("drain --detach", "drain"), ("activate", "active"), ("pause", "pause")]
)
def test_availability_is_a_word_of_its_own(mesh, word: str, availability: str) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("node", *word.split(), "n1", "n2").out == "n1\nn2\n"
    assert [(request.node, request.availability) for request in mesh.requests("node.update")] == [
        ("n1", availability),
        ("n2", availability),
    ]


def test_node_update_changes_labels(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("node", "update", "--label-add", "zone=eu", "--label-rm", "old", "n1").out == "n1\n"
    (request,) = mesh.requests("node.update")
    assert (request.labels_add, request.labels_remove, request.availability) == ({"zone": "eu"}, ("old",), None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("update", "n1"), 2, "nothing to change"),
        (("update", "--label-add", "=x", "n1"), 2, "'=x' is not KEY=VALUE"),
        (("update", "--availability", "gone", "n1"), 2, "'gone' is not one of"),
        (("drain", "n9"), 4, "there is no node 'n9'"),
        (("ls", "-f", "role=boss"), 2, "role=boss can't be"),
        (("rm", "n9"), 4, "there is: n1, n2, n3"),
    ],
)
def test_nodes_refuse_what_can_not_be_meant(mesh, arguments: tuple[str, ...], code: int, said: str) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("node", *arguments)
    assert ran.code == code
    assert said in ran.err
    assert mesh.requests("node.update") == mesh.requests("node.remove") == []


def test_node_prune_asks_first_and_removes_only_what_is_down(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("node", "prune", stdin="n\n").code == 6
    assert mesh.requests("node.remove") == []
    assert mesh.run("node", "prune", "--force").out == "n3\n"
    assert [request.node for request in mesh.requests("node.remove")] == ["n3"]


def test_what_the_mesh_refuses_for_a_node_is_told(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("node.remove", Refused("node n1 is not down", hint="drain it first, or --force"))
    ran = mesh.run("node", "rm", "n1")
    assert (ran.code, ran.err) == (6, "error: node n1 is not down\nhint: drain it first, or --force")


def test_node_ls_filters(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("node", "ls", "-q", "-f", "status=down").out == "n3\n"
    assert mesh.run("node", "ls", "-q", "-f", "name=n1", "-f", "name=n2").out == "n1\nn2\n"


# volumes, images, the mesh


def test_volumes_are_listed_and_removed_only_when_it_is_clear_which(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer(
        "volume.list",
        VolumeList(
            volumes=(
                VolumeView(name="hello_data", node="n1", services=("hello_db",), node_status="ready"),
                VolumeView(name="old", node="n1", node_status="ready"),
                VolumeView(name="old", node="n2", node_status="down"),
            )
        ),
    )
    mesh.answer("n1/volume_remove", Done(node="n1"))
    assert mesh.run("volume", "ls").out == (
        "VOLUME NAME   NODE        SERVICES\n"
        "hello_data    n1          hello_db\n"
        "old           n1\n"
        "old           n2 (down)\n"
    )
    assert mesh.run("volume", "ls", "-q", "-f", "dangling=false").out == "hello_data\n"
    assert mesh.run("volume", "rm", "hello_data").code == 6
    assert mesh.run("volume", "rm", "old").code == 2
    assert mesh.run("volume", "rm", "old", "--node", "n1").out == "old\n"
    assert mesh.run("volume", "rm", "hello_dta").code == 4


def test_images_of_all_ready_nodes_are_listed_once(mesh) -> None:  # type: ignore[no-untyped-def]
    image = ImageView(image_id="sha256:0123456789abcdef", tags=("hello:1",), size=1_500_000, created=NOW - 7200)
    mesh.answer("n1/image_list", ImageList(node="n1", images=(image,)))
    mesh.answer("n2/image_list", ImageList(node="n2", images=(image, ImageView(image_id="sha256:fedcba9876543210"))))
    assert mesh.run("image", "ls").out == (
        "REPOSITORY   TAG      IMAGE ID       CREATED       SIZE    NODES\n"
        "<none>       <none>   fedcba987654                 0B      n2\n"
        "hello        1        0123456789ab   2 hours ago   1.5MB   n1, n2\n"
    )


def test_image_load_tells_each_node_and_fails_if_one_does(mesh, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = tmp_path / "hello.tar"
    archive.write_bytes(b"x" * 1000)

    def take(request: LoadChunk) -> LoadAnswer:
        return LoadAnswer(received=1, images=("hello:1",))

    mesh.answer("n1/image_load", take)
    mesh.answer("n2/image_load", EngineError("no space left on device"))
    ran = mesh.run("image", "load", "-i", str(archive))
    assert ran.out == "n1: hello:1\n"
    assert ran.code == 6
    assert "error: 1 of 2 nodes did not take it; n2: no space left on device" in ran.err
    assert mesh.run("image", "load", "-i", str(archive), "--node", "n1").code == 0
    other = tmp_path / "other.tar"
    other.write_bytes(b"y")
    assert mesh.run("image", "load", str(archive), str(other), "--node", "n1").out == "n1: hello:1\nn1: hello:1\n"
    assert mesh.run("image", "load", "-i", "/nowhere.tar").code == 2
    assert mesh.run("image", "load").code == 2


def test_image_push_calls_the_docker_binary_and_skips_nodes_that_have_it(
    mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\ncase "$1 $5" in\n"image hello:1") echo sha256:aa 3000 ;;\n'
        '"image "*) echo "Error: No such image: $5" >&2; exit 1 ;;\nsave*) printf archive ;;\nesac\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    chunks: list[LoadChunk] = []
    mesh.answer("n1/image_list", ImageList(node="n1", images=(ImageView(image_id="sha256:aa", tags=("hello:1",)),)))
    mesh.answer("n2/image_list", ImageList(node="n2", images=()))
    mesh.answer("n2/image_load", lambda chunk: chunks.append(chunk) or LoadAnswer(received=1, images=("hello:1",)))
    ran = mesh.run("image", "push", "hello:1")
    assert (ran.out, ran.code) == ("n1: has it already\nn2: hello:1\n", 0)
    assert chunks[0].data == b"archive"
    ran = mesh.run("image", "push", "nope:1")
    assert (ran.code, "this machine's engine has no image nope:1" in ran.err) == (4, True)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no docker command" in mesh.run("image", "push", "hello:1").err


def test_the_brake_is_released_only_when_it_is_engaged(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("status.get", Status(mesh_id="m", generation=1, epoch=1, leader="c1"))
    assert mesh.run("brake", "release").out == "the brake is not engaged\n"
    brake = BrakeRecord(engaged=True, why="2 of 3 nodes are silent", silent=("n1", "n2"))
    mesh.answer("status.get", Status(mesh_id="m", generation=1, epoch=1, leader="c1", brake=brake))
    assert mesh.run("brake", "release").out == "released\n"
    assert [request.kind for request in mesh.requests("order.give")] == ["brake.release"]


def test_confirming_a_node_dead_asks_first(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("node", "confirm-dead", "n3", stdin="n\n").code == 6
    assert mesh.run("node", "confirm-dead", "-f", "n3").out == "n3\n"
    assert [(request.kind, request.node) for request in mesh.requests("order.give")] == [("node.confirm-dead", "n3")]


def test_status_tells_what_is_not_as_it_should_be(mesh) -> None:  # type: ignore[no-untyped-def]
    waiting = service(running=1, phase="converging", reasons=(Reason(text="3 nodes: 3 lack memory", count=1),))
    mesh.answer("service.list", ServiceList(services=(waiting,)))
    mesh.answer(
        "status.get",
        Status(
            mesh_id="m",
            generation=1,
            epoch=7,
            leader="c1",
            nodes_ready=2,
            nodes=3,
            services=1,
            tasks_running=1,
            tasks_wanted=2,
            brake=BrakeRecord(engaged=True, why="2 of 3 nodes are silent", silent=("n2", "n3"), since=NOW - 30),
            reasons=(Reason(text="hello_web: 3 nodes: 3 lack memory"), Reason(text="the store is nearly full")),
        ),
    )
    assert mesh.run("status").out == (Path(__file__).parent / "golden" / "status.txt").read_text()


def test_version_tells_of_a_mesh_that_does_not_answer(mesh) -> None:  # type: ignore[no-untyped-def]
    mesh.answer("status.get", NotFound("gone"))
    ran = mesh.run("version")
    assert ran.code == 0
    assert ran.out.splitlines()[1] == "controllers  unknown: gone"
