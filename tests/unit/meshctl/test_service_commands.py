"""Commands on services and tasks, end to end on a scripted mesh: what they ask, what they print, how they end."""

from __future__ import annotations

import json

import msgspec

from schemas import subjects
from schemas.errors import EngineError
from schemas.events import Event
from schemas.nodeapi import LogLine, LogPage, ReadLogs
from schemas.postmortem import PostMortem
from schemas.taskapi import TaskDetail
from schemas.wire import encode
from tests.unit.meshctl.answers import task


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
