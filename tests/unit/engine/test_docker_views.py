"""Docker's JSON, of engines old and new, as the port's structs."""

from __future__ import annotations

from typing import Any

import pytest

from agent.engine.docker_calls import split_reference
from agent.engine.docker_views import (
    Json,
    bound_ports,
    container_view,
    event_view,
    has_manifest_ids,
    image_view,
    info_view,
    listed_image_view,
    listed_key,
    listed_ports,
    progress_view,
    volume_views,
)
from agent.engine.model import EngineEvent, PullProgress, Volume
from schemas.observation import BoundPort

NEVER = "0001-01-01T00:00:00Z"


def inspected(**state: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Name": "/web.1.1-a",
        "Created": "2026-11-23T06:30:00Z",
        "Image": "sha256:1",
        "Config": {"Labels": {"a": "b"}, "StopTimeout": 7},
        "State": {"Status": "running", "StartedAt": "2026-11-23T06:30:01Z", "FinishedAt": NEVER, "ExitCode": 0} | state,
    }


def test_a_running_container() -> None:
    view = container_view(inspected())
    assert (view.id, view.name, view.state, view.exit_code) == ("c1", "web.1.1-a", "running", None)
    assert view.started_at == 1_795_415_401.0
    assert view.finished_at == 0.0
    assert view.stop_grace == 7


@pytest.mark.parametrize(
    ("status", "state"),
    [("created", "created"), ("restarting", "running"), ("paused", "paused"), ("removing", "dead"), ("dead", "dead"),
     ("something new", "dead")],
)  # fmt: skip
def test_docker_states_are_mapped(status: str, state: str) -> None:
    assert container_view(inspected(Status=status)).state == state


def test_an_ended_container_tells_how() -> None:
    view = container_view(inspected(Status="exited", ExitCode=137, OOMKilled=True))
    assert (view.exit_code, view.oom_killed, view.ended) == (137, True, True)


def test_a_container_that_could_not_be_started_tells_why() -> None:
    error = 'OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown'
    view = container_view(inspected(Status="created", ExitCode=127, Error=error, StartedAt=NEVER))
    assert (view.exit_code, view.error) == (127, 'command "x" is not in the image')


@pytest.mark.parametrize(("status", "health"), [("healthy", "healthy"), ("none", ""), ("", "")])
def test_health_is_mapped(status: str, health: str) -> None:
    assert container_view(inspected(Health={"Status": status})).health == health


def test_a_port_on_both_address_families_is_told_once() -> None:
    ports: dict[str, list[Json] | None] = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        "443/tcp": None,
        "9/sctp": [{"HostIp": "0.0.0.0", "HostPort": "9"}],
    }
    assert bound_ports(ports) == (
        BoundPort(target=53, published=53, protocol="udp", host_ip="127.0.0.1"),
        BoundPort(target=80, published=32768),
    )


def test_listed_ports_are_told_once() -> None:
    entry = {
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
        ]
    }
    assert listed_ports(entry) == (BoundPort(target=80, published=8080),)


def test_the_last_health_check_is_told_with_what_it_printed() -> None:
    log = [{"Output": "fine\n"}, {"Output": "wget: can't connect\n"}]
    view = container_view(inspected(Health={"Status": "unhealthy", "Log": log}))
    assert view.health_log == "wget: can't connect"
    assert container_view(inspected(Health={"Status": "starting", "Log": None})).health_log == ""


def test_a_list_entry_changes_with_state_and_health_but_not_with_time() -> None:
    def key(status: str, state: str = "running") -> object:
        return listed_key({"State": state, "Status": status})

    assert key("Up 3 seconds (healthy)") == key("Up 4 minutes (healthy)")
    assert key("Up 3 seconds (healthy)") != key("Up 3 seconds (unhealthy)")
    assert key("Up 3 seconds") != key("Exited (0) 1 second ago", "exited")


def test_engine_facts() -> None:
    view = info_view({"ServerVersion": "29.0", "NCPU": 2, "MemTotal": 5, "Labels": ["zone=eu", "odd"]}, "1.52", (9, 4))
    assert (view.version, view.api_version, view.cpus, view.memory) == ("29.0", "1.52", 2.0, 5)
    assert view.labels == {"zone": "eu", "odd": ""}
    assert (view.disk_total, view.disk_free) == (9, 4)


IMAGE = {
    "Id": "sha256:1",
    "RepoTags": ["web:1"],
    "RepoDigests": ["web@sha256:9"],
    "Os": "linux",
    "Architecture": "arm64",
}


def test_an_image_of_a_classic_store_is_named_by_its_config() -> None:
    view = image_view(IMAGE)
    assert (view.id, view.tags, view.digests, view.id_is_config) == ("sha256:1", ("web:1",), ("web@sha256:9",), True)
    assert view.architecture == "arm64"


def test_a_containerd_store_makes_up_digests_unless_it_says_that_it_pulled() -> None:
    loaded = image_view(IMAGE, manifest_ids=True)
    assert (loaded.digests, loaded.id_is_config) == ((), False)
    pulled = image_view(IMAGE | {"Identity": {"Pull": [{"Repository": "docker.io/library/web"}]}}, manifest_ids=True)
    assert (pulled.digests, pulled.id_is_config) == (("web@sha256:9",), False)


def test_the_kind_of_image_store_is_told_by_the_engine() -> None:
    assert has_manifest_ids({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    assert not has_manifest_ids({"DriverStatus": [["Backing Filesystem", "extfs"]]})
    assert not has_manifest_ids({"DriverStatus": None})


def test_nameless_images_have_no_tags() -> None:
    view = listed_image_view({"Id": "sha256:1", "RepoTags": ["<none>:<none>"], "RepoDigests": None, "Created": 5})
    assert (view.tags, view.digests, view.created_at) == ((), (), 5.0)


def test_volumes_without_a_name_of_their_own_are_left_out() -> None:
    data = {"Volumes": [{"Name": "b", "Driver": "local", "Labels": None}, {"Name": "0" * 64}, {"Name": "a"}]}
    assert volume_views(data) == (Volume("a"), Volume("b"))
    assert volume_views({"Volumes": None}) == ()


def test_events_of_containers_are_mapped() -> None:
    data = {
        "Type": "container",
        "Action": "die",
        "timeNano": 1_500_000_000,
        "Actor": {"ID": "c1", "Attributes": {"exitCode": "3", "image": "x", "name": "y", "mesh.id": "m1"}},
    }
    assert event_view(data) == EngineEvent("die", "c1", {"mesh.id": "m1"}, 1.5, 3)
    health = event_view(data | {"Action": "health_status: unhealthy"})
    assert health is not None
    assert (health.action, health.health, health.exit_code) == ("health", "unhealthy", None)
    other = event_view(data | {"Action": "exec_create: sh -c x"})
    assert other is not None
    assert other.action == "other"
    assert event_view({"Type": "network", "Actor": {}}) is None


def test_progress_of_a_pull() -> None:
    message = {"status": "Downloading", "id": "abc", "progressDetail": {"current": 5, "total": 10}}
    assert progress_view("web:1", message) == PullProgress("web:1", "abc: Downloading", 5, 10)
    assert progress_view("web:1", {"status": "Pulling"}) == PullProgress("web:1", "Pulling")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("web", ("web", "latest")),
        ("web:1", ("web", "1")),
        ("registry:5000/web", ("registry:5000/web", "latest")),
        ("registry:5000/a/web:1", ("registry:5000/a/web", "1")),
        ("web@sha256:9", ("web", "sha256:9")),
        ("web:1@sha256:9", ("web", "sha256:9")),
    ],
)
def test_a_reference_without_a_tag_means_latest_only(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts
