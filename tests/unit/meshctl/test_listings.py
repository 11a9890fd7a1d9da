"""What lists print: golden texts, as docker would print them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from meshctl.format.table import fit_to, lay_out
from schemas.memberapi import NodeList, NodeView
from schemas.network import Publication
from schemas.observation import BoundPort, NodeFacts
from schemas.ports import Port
from schemas.records import RolloutRecord, ServiceRecord
from schemas.serviceapi import ServiceList, ServiceView
from schemas.spec import ContainerSpec, Placement, ServiceSpec, TaskSpec
from schemas.stackapi import StackList, StackView
from schemas.taskapi import TaskList, TaskView

NOW = 1_790_000_000.0


def test_a_table_is_cut_to_the_terminal_where_columns_give_way() -> None:
    header = ["ID", "ERROR", "PORTS"]
    rows = [["abc", "x" * 60, ""], ["d", "", "*:32768->80/tcp"]]
    for width, longest in ((200, 60), (60, 36), (20, 16)):
        cut = fit_to(width, header, rows, {0: 0, 1: 16, 2: 0})
        assert max(len(row[1]) for row in cut) == longest
        assert [row[2] for row in cut] == ["", "*:32768->80/tcp"]
        if width >= 60:
            assert max(map(len, lay_out(header, cut).splitlines())) <= width
    assert rows[0][1] == "x" * 60


def service(
    name: str,
    running: int,
    desired: int,
    *,
    mode: str = "replicated",
    ports: tuple[Port, ...] = (),
    published: tuple[int, ...] = (),
) -> ServiceView:
    container = ContainerSpec(image="hello:1", ports=ports)
    spec = ServiceSpec(name=name, task=TaskSpec(container=container, placement=Placement()), stack="hello", mode=mode)  # type: ignore[arg-type]
    return ServiceView(
        record=ServiceRecord(name=name, stack="hello", mode=mode, target=1, replicas=desired),  # type: ignore[arg-type]
        spec=spec,
        sequence=5,
        rollout=RolloutRecord(service=name, intent=5, phase="done", wanted=desired, running=running, updated=running),
        running=running,
        desired=desired,
        published=tuple(Publication(published=each, target=80, service=name, network="front") for each in published),
    )


def task(slot: str, state: str = "running", **fields: object) -> TaskView:
    values: dict[str, object] = {
        "id": f"a-{slot}",
        "service": "hello_web",
        "node": "n1",
        "image": "hello:1",
        "since": NOW - 200,
    }
    return TaskView(**{**values, "slot": slot, "state": state, "stack": "hello", **fields})  # type: ignore[arg-type]


def golden_file(name: str) -> str:
    return (Path(__file__).parent / "golden" / name).read_text()


def golden(text: str) -> str:
    return dedent(text).lstrip("\n")


@pytest.fixture
def mesh(scripted):  # type: ignore[no-untyped-def]
    scripted.answer("stack.list", StackList(stacks=(StackView(stack="hello", revision=1, services={"hello_web": 1}),)))
    scripted.answer(
        "service.list",
        ServiceList(
            services=(
                service("hello_web", 5, 6, ports=(Port(target=80),)),
                service("hello_edge", 3, 3, mode="global", ports=(Port(target=80, published=8080),)),
            )
        ),
    )
    return scripted


def test_service_ls_has_dockers_columns(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("service", "ls").out == golden(
        """
        NAME         MODE         REPLICAS   IMAGE     PORTS
        hello_edge   global       3/3        hello:1   *:8080->80/tcp
        hello_web    replicated   5/6        hello:1
        """
    )


def test_service_ls_tells_the_ports_that_were_given(scripted) -> None:  # type: ignore[no-untyped-def]
    pool = {"target": 80, "published": 8000, "published_last": 8010}
    web = (Port(**pool, mode="ingress"), Port(target=80, mode="ingress"), Port(**pool))  # type: ignore[arg-type]
    late = (Port(**pool, mode="ingress"), Port(target=80, mode="ingress"))  # type: ignore[arg-type]
    views = (service("web", 1, 1, ports=web, published=(8003, 30_000)), service("late", 1, 1, ports=late))
    scripted.answer("service.list", ServiceList(services=views))
    assert scripted.run("service", "ls", "--format", "{{.Ports}}").out.splitlines() == [
        "*:8000-8010->80/tcp",
        "*:8003->80/tcp, *:30000->80/tcp, *:8000-8010->80/tcp",
    ]


def test_service_ls_filters_and_prints_only_names(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("service", "ls", "-q", "-f", "mode=global").out == "hello_edge\n"
    assert mesh.run("service", "ls", "-q", "-f", "name=hello_w").out == "hello_web\n"


def test_service_ls_takes_dockers_templates(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("service", "ls", "--format", "{{.Name}} {{.Replicas}}").out == "hello_edge 3/3\nhello_web 5/6\n"
    assert mesh.run("service", "ls", "--format", "table {{.ID}}\\t{{.Mode}}").out == golden(
        """
        ID           MODE
        hello_edge   global
        hello_web    replicated
        """
    )


def test_service_ls_as_json_is_one_object_a_line(mesh) -> None:  # type: ignore[no-untyped-def]
    first, second = mesh.run("service", "ls", "--format", "json").out.splitlines()
    assert first.startswith('{"ID": "hello_edge", "Name": "hello_edge", "Mode": "global", "Replicas": "3/3"')
    assert '"Running": 5, "Desired": 6' in second


def test_service_ls_as_yaml_is_a_list(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("service", "ls", "--format", "yaml").out.startswith("- ID: hello_edge\n  Name: hello_edge\n")


def test_stack_ls_tells_how_much_runs(mesh) -> None:  # type: ignore[no-untyped-def]
    assert mesh.run("stack", "ls").out == golden(
        """
        NAME    SERVICES   REPLICAS
        hello   1          8/9
        """
    )


def test_service_ps_speaks_dockers_states_with_history_below_each_slot(scripted) -> None:  # type: ignore[no-untyped-def]
    scripted.answer("service.list", ServiceList(services=()))
    port = BoundPort(target=80, published=32768, host_ip="0.0.0.0")
    scripted.answer(
        "task.list",
        TaskList(
            tasks=(
                task("2", "pending", id="", node="", since=0.0, why="volume data is on node n2, which is down"),
                task("1", "failed", id="a-0", since=NOW - 4000, exit_code=1, container="c0", desired="shutdown"),
                task("1", ports=(port, BoundPort(target=80, published=32768, host_ip="::"))),
                task("10", "lost", node="n3", why="n3 is down"),
                task("1", "exited", id="a-00", since=NOW - 90000, exit_code=0, why="replaced", desired="shutdown"),
                task("3", health="starting", since=NOW - 3),
            )
        ),
    )
    assert scripted.run("service", "ps", "hello_web").out == golden_file("service_ps.txt")


def test_node_ls_explains_only_where_there_is_something_to_explain(scripted) -> None:  # type: ignore[no-untyped-def]
    facts = NodeFacts(cpus=2, memory=4 * 1024**3, engine_version="20.10.24")
    ready = NodeView(node="n1", status="ready", availability="active", facts=facts, tasks=3, running=3)
    scripted.answer("node.list", NodeList(nodes=(ready,)))
    assert scripted.run("node", "ls").out == golden(
        """
        HOSTNAME   STATUS   AVAILABILITY   CONTROLLER   TASKS   CPUS   MEMORY   ENGINE VERSION
        n1         Ready    Active                      3/3     2      4 GiB    20.10.24
        """
    )
    down = NodeView(
        node="n2",
        status="down",
        availability="drain",
        facts=facts,
        why="no heartbeat",
        since=NOW - 65,
        reserved_cpus=0.5,
    )
    scripted.answer("node.list", NodeList(nodes=(down, ready)))
    assert scripted.run("node", "ls").out == golden_file("node_ls.txt")
