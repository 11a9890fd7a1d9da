"""Commands on stacks, end to end on a scripted mesh: what they ask, what they print, how they end."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import Conflict
from schemas.serviceapi import ServiceList
from schemas.stackapi import DeployStack
from schemas.taskapi import ListTasks, TaskList
from tests.unit.meshctl.answers import COMPOSE, deployed, service, task


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
