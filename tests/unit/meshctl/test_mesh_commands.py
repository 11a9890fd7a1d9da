"""Commands on volumes, images and the whole mesh, end to end on a scripted mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import EngineError, NotFound
from schemas.nodeapi import Done, ImageList, ImageView, LoadAnswer, LoadChunk
from schemas.records import BrakeRecord, Reason
from schemas.serviceapi import ServiceList
from schemas.statusapi import Status
from schemas.volumeapi import VolumeList, VolumeView
from tests.unit.meshctl.answers import NOW, service


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
