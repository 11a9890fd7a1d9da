"""Docker's texts, as engines of different versions say them, and what a person reads."""

from __future__ import annotations

import pytest

from agent.engine.docker_errors import classify, image_error
from agent.engine.docker_texts import LINE, explain
from schemas.errors import Conflict, EngineError, ImageUnavailable, MeshError, NotFound

OCI = "OCI runtime create failed: container_linux.go:380: starting container process caused: "
RUNC = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)
DRIVER = "driver failed programming external connectivity on endpoint web.1.1-a (0123abc): "

STARTING = [
    (DRIVER + "Bind for 0.0.0.0:8080 failed: port is already allocated", "port 8080 is already taken on this node"),
    (DRIVER + "all ports are allocated", "no free host port is left on this node"),
    (
        DRIVER + "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
        "port 80/tcp is already taken on this node",
    ),
    (
        "failed to set up container networking: " + DRIVER + "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/"
        "tcp: address already in use",
        "port 8080 is already taken on this node",
    ),
    (
        "failed to set up container networking: " + DRIVER + "failed to bind host port 0.0.0.0:8080/tcp: "
        "address already in use",
        "port 8080/tcp is already taken on this node",
    ),
    (
        "failed to set up container networking: " + DRIVER + "Bind for :::8080 failed: port is already allocated",
        "port 8080 is already taken on this node",
    ),
    (OCI + 'exec: "nosuch": executable file not found in $PATH: unknown', 'command "nosuch" is not in the image'),
    (RUNC + 'exec: "nosuch": executable file not found in $PATH: unknown', 'command "nosuch" is not in the image'),
    (
        RUNC + 'error during container init: exec: "/x": stat /x: no such file or directory: unknown',
        'command "/x" is not in the image',
    ),
    (OCI + 'exec: \\"nosuch\\": executable file not found in $PATH', 'command "nosuch" is not in the image'),
    (OCI + 'exec: "/etc": permission denied: unknown', 'command "/etc" in the image may not be executed'),
    (RUNC + 'exec: "/etc": is a directory: unknown', 'command "/etc" is a directory in the image'),
    ("No command specified", "the image names no command, and neither does the service"),
    (
        "standard_init_linux.go:228: exec user process caused: exec format error",
        "the image's program is for another platform",
    ),
    ("unable to find user bob: no matching entries in passwd file", 'user "bob" is not in the image'),
]

MAKING = [
    (
        400,
        'invalid mount config for type "bind": bind source path does not exist: /no/such',
        EngineError,
        "bind source path does not exist: /no/such",
    ),
    (404, "No such image: web:1", ImageUnavailable, "no such image: web:1"),
    (404, "No such container: abc", NotFound, "no such container: abc"),
    (404, "get theirs: no such volume", NotFound, "no such volume: theirs"),
    (
        409,
        (
            'Conflict. The container name "/web.1" is already in use by container "0123456789abcdef". '
            "You have to remove "
            "(or rename) that container to be able to reuse that name."
        ),
        Conflict,
        "the container name web.1 is taken by 0123456789ab",
    ),
    (
        409,
        "remove data: volume is in use - [0123456789abcdef]",
        Conflict,
        "the volume is used by container 0123456789ab",
    ),
    (
        409,
        "You cannot remove a running container 0123. Stop the container before attempting removal or force remove",
        Conflict,
        "the container runs: stop it first",
    ),
    (
        400,
        "Minimum memory limit allowed is 6MB",
        EngineError,
        "the memory limit is too small: the engine wants at least 6MB",
    ),
    (
        400,
        "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        EngineError,
        "the CPU limit is too high: this node has 2.00 CPUs",
    ),
    (
        500,
        "write /var/lib/docker/tmp/x: no space left on device",
        EngineError,
        "the engine's disk is full: no space left on device",
    ),
    (
        500,
        'error gathering device information while adding custom device "/dev/x": no such file or directory',
        EngineError,
        "device does not exist: /dev/x",
    ),
    (
        500,
        'error looking up volume plugin nfs: plugin "nfs" not found',
        EngineError,
        'there is no plugin "nfs" on this node',
    ),
]

PULLING = [
    (
        (
            "pull access denied for nosuch, repository does not exist or may require 'docker login': "
            "denied: requested access "
            "to the resource is denied"
        ),
        "no image nosuch in its registry, or no right to pull it (docker login on the node)",
    ),
    ("manifest unknown: manifest unknown", "the registry has no image of that name and tag"),
    (
        'Get "http://10.77.0.1:5000/v2/web/manifests/1": no basic auth credentials',
        "the registry wants a login, and this node has none for it (docker login on the node)",
    ),
    ("manifest for web:9 not found: manifest unknown: manifest unknown", "the registry has no image web:9"),
    (
        "no matching manifest for linux/arm64/v8 in the manifest list entries",
        "the registry has no such image for linux/arm64/v8",
    ),
    (
        'Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.1:53: no such host',
        "the registry's name registry.example can't be resolved",
    ),
    (
        'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        "the registry's name registry.example can't be resolved",
    ),
    (
        (
            'Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.1:53: '
            "dial udp 10.0.0.1:53: "
            "connect: network is unreachable"
        ),
        "the registry's name registry.example can't be resolved: DNS server 10.0.0.1:53 does not answer",
    ),
    (
        (
            'Get "https://registry.example/v2/": dial tcp: lookup registry.example on [::1]:53: read '
            "udp [::1]:4->[::1]:53: "
            "read: connection refused"
        ),
        "the registry's name registry.example can't be resolved: DNS server [::1]:53 does not answer",
    ),
    (
        'Get "https://registry.example/v2/": dial tcp 10.0.0.9:443: connect: connection refused',
        "the registry at 10.0.0.9:443 can't be reached: connection refused",
    ),
    (
        (
            'Get "https://registry.example/v2/": net/http: request canceled while waiting for '
            "connection (Client.Timeout "
            "exceeded while awaiting headers)"
        ),
        "the registry does not answer in time (Client.Timeout exceeded)",
    ),
    (
        'Get "https://registry.example/v2/": x509: certificate signed by unknown authority',
        "the registry's certificate is not trusted: certificate signed by unknown authority",
    ),
    (
        "toomanyrequests: You have reached your pull rate limit.",
        "the registry refuses: too many pulls (docker login on the node helps)",
    ),
    (
        'Get "https://registry.example/v2/x/manifests/1": unauthorized: authentication required',
        "the registry refuses: no right to pull it (docker login on the node)",
    ),
    ("invalid reference format", "not an image reference"),
]


@pytest.mark.parametrize(("text", "line"), STARTING, ids=lambda value: value[-40:])
def test_why_a_container_does_not_start_is_one_readable_line(text: str, line: str) -> None:
    assert explain(text) == line


@pytest.mark.parametrize(("status", "text", "kind", "line"), MAKING, ids=lambda value: str(value)[-40:])
def test_what_the_engine_refuses_has_its_kind(status: int, text: str, kind: type[MeshError], line: str) -> None:
    error = classify(status, text)
    assert type(error) is kind
    assert error.message == line


@pytest.mark.parametrize(("text", "line"), PULLING, ids=lambda value: value[-40:])
def test_why_an_image_can_not_be_pulled_is_told(text: str, line: str) -> None:
    error = image_error("web:1", text)
    assert type(error) is ImageUnavailable
    assert error.message == f"image web:1: {line}"


def test_a_full_disk_while_pulling_is_no_fault_of_the_image() -> None:
    assert type(image_error("web:1", "write /x: no space left on device")) is EngineError


def test_an_unknown_text_loses_its_wrapping_and_is_cut() -> None:
    assert explain(RUNC + "something\n  new") == "something new"
    assert len(explain("x" * 1000)) == LINE
