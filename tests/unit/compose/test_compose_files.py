"""Real files: the shell around the reader, well-known stacks, and the examples of this repository."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from meshctl.compose.load import load_stack
from meshctl.compose.sources import ComposeSource, read_source
from schemas.errors import ManifestError
from schemas.ports import Port
from schemas.spec import RestartPolicy

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data" / "compose"


def test_the_voting_stack_waits_for_what_it_depends_on() -> None:
    stack = load_stack([str(DATA / "voting.yaml")], stack="vote")
    waits = {service.spec.name: [each.service for each in service.spec.depends_on] for service in stack.services}
    assert {name: others for name, others in waits.items() if others} == {
        "vote_vote": ["vote_queue"],
        "vote_result": ["vote_db"],
    }


def test_the_voting_stack_keeps_its_networks_and_ports() -> None:
    stack = load_stack([ComposeSource("a", (DATA / "voting.yaml").read_text(), "/")], stack="vote")
    on = {
        service.spec.name: [each.network for each in service.spec.task.container.networks] for service in stack.services
    }
    assert on["vote_worker"] == ["vote_front", "vote_back"]
    assert on["vote_viewer"] == ["vote_default"]
    assert [network.name for network in stack.networks] == ["vote_back", "vote_default", "vote_front"]
    vote = next(service for service in stack.services if service.spec.name == "vote_vote")
    assert vote.spec.task.container.ports == (Port(target=80, published=5000, mode="ingress"),)
    again = load_stack([ComposeSource("-", stack.rendered(), "/")])
    assert again.services == stack.services
    assert again.networks == stack.networks


def test_a_stack_without_networks_and_ports_on_every_node_gets_no_network() -> None:
    text = "services: {web: {image: a, ports: [{target: 80, mode: host}]}}"
    stack = load_stack([ComposeSource("-", text, "/")], stack="plain")
    assert stack.networks == ()
    assert stack.services[0].spec.task.container.networks == ()


def test_the_voting_stack_runs_with_a_second_file_upon_it() -> None:
    stack = load_stack([str(DATA / "voting.yaml"), str(DATA / "voting-mesh.yaml")], stack="vote")
    services = {service.spec.name: service for service in stack.services}
    assert list(services) == [f"vote_{name}" for name in ("queue", "db", "vote", "result", "worker", "viewer")]
    assert services["vote_vote"].replicas == 2
    assert services["vote_vote"].spec.task.container.ports == (Port(target=80, published=5000),)
    assert services["vote_db"].spec.task.container.mounts[0].source == "vote_db-data"
    assert services["vote_worker"].spec.labels == {"APP": "VOTING"}
    assert services["vote_worker"].spec.task.restart == RestartPolicy(
        condition="on-failure", delay=10.0, max_attempts=3, window=120.0
    )
    assert services["vote_viewer"].spec.task.container.stop_grace == 90.0
    assert [warning.split(": ")[1] for warning in stack.warnings] == ["version"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/compose.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_are_read_without_a_warning(path: Path) -> None:
    stack = load_stack([str(path)], stack="example")
    assert stack.services
    assert stack.warnings == ()
    assert load_stack([str(path)], stack="example").services == stack.services


def test_files_env_and_relative_paths_begin_beside_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").write_text("TAG=7\n")
    (tmp_path / "sub" / ".env").write_text("TAG=wrong\n")
    (tmp_path / "a.env").write_text("A=1\n")
    (tmp_path / "compose.yaml").write_bytes(
        b"\xef\xbb\xbfservices: {web: {image: 'app:$TAG', volumes: ['./x:/x']}}\r\n"
    )
    (tmp_path / "sub" / "more.yaml").write_text("services: {web: {env_file: a.env}}\n")
    stack = load_stack([str(tmp_path / "compose.yaml"), str(tmp_path / "sub" / "more.yaml")], stack="demo")
    container = stack.services[0].spec.task.container
    assert (container.image, container.environment) == ("app:7", {"A": "1"})
    assert container.mounts[0].source == f"{tmp_path}/x"


def test_a_projects_directory_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: app, volumes: ['./x:/x']}}")
    stack = load_stack([str(tmp_path / "compose.yaml")], stack="demo", project_dir="/srv/app")
    assert stack.services[0].spec.task.container.mounts[0].source == "/srv/app/x"


def test_standard_input_is_a_file_called_stdin() -> None:
    source = read_source("-", io.BytesIO(b"services: {web: {image: app, tyt: 1}}"))
    with pytest.raises(ManifestError, match=r"<stdin>:1: services\.web\.tyt: .* did you mean `tty`\?"):
        load_stack([source], stack="demo")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: b\nc: \xff\n", "x.yaml:2: the text is not UTF-8"),
        (b"#" * (2**21 + 1), "x.yaml: the file has more than 2 MiB"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_source(str(tmp_path / "x.yaml"))
    assert said in str(caught.value)


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nothing\.yaml: there is no such file"):
        read_source("nothing.yaml")
    with pytest.raises(ManifestError, match="can't be read: Is a directory"):
        read_source(str(tmp_path))
    with pytest.raises(ManifestError, match="can't be read: "):
        read_source("a\0b")


@pytest.mark.parametrize(
    "word", ["\x85", "a\u2028b", "\ufeff", "a\rb", "a\nb\n", " x ", "\t", "yes", "22:22", "1e3", "a\n\n b"]
)
def test_odd_texts_survive_being_rendered(word: str) -> None:
    body = {"image": "a", "command": [word], "environment": {"A": word}, "volumes": ["d:/d"]}
    volumes = {"d": {"driver_opts": {"empty": None, "word": word}}}
    source = ComposeSource("x.yaml", json.dumps({"services": {"web": body}, "volumes": volumes}))
    stack = load_stack([source], stack="demo")
    assert stack.services[0].spec.task.container.command == (word,)
    assert load_stack([ComposeSource("x.yaml", stack.rendered())], stack="demo").services == stack.services
