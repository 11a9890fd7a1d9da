"""Several files upon each other, and services that extend others."""

from __future__ import annotations

import pytest

from schemas.errors import ManifestError
from schemas.ports import Port
from schemas.spec import ContainerSpec
from tests.unit.compose.reading import load, service_text


def merged(first: str, *more: str) -> ContainerSpec:
    """The container of `web` from bodies of several files."""
    texts = [service_text(first), *(service_text(body, image="") for body in more)]
    return load(*texts).services[0].spec.task.container


def test_single_values_and_commands_are_replaced() -> None:
    found = merged("user: a\ncommand: [a, b]\nentrypoint: x", "user: b\ncommand: c")
    assert (found.user, found.command, found.entrypoint) == ("b", ("c",), ("x",))


def test_environment_and_labels_are_merged_by_name_in_either_spelling() -> None:
    found = merged("environment: [A=1, B=1]\nlabels: {a: 1, b: 1}", "environment: {B: 2, C: 2}\nlabels: [b=2]")
    assert found.environment == {"A": "1", "B": "2", "C": "2"}
    assert found.labels == {"a": "1", "b": "2"}


def test_mounts_are_merged_by_their_place_and_ports_by_what_they_publish() -> None:
    found = merged(
        "volumes: ['./a:/a', './b:/b']\nports: [{target: 80, published: 80, mode: host}]",
        "volumes: [{type: bind, source: /other, target: /a}]\n"
        "ports: [{target: 80, published: 80, mode: host}, {target: 81, mode: host}]",
    )
    assert [(mount.source, mount.target) for mount in found.mounts] == [("/other", "/a"), ("/project/b", "/b")]
    assert found.ports == (Port(target=80, published=80), Port(target=81))


def test_lists_are_joined_without_doubles() -> None:
    found = merged(
        "cap_add: [A, B]\ndns: 10.0.0.1\ntmpfs: /x", "cap_add: [B, C]\ndns: [10.0.0.2]\ntmpfs: ['/x:size=1m']"
    )
    assert found.cap_add == ("A", "B", "C")
    assert found.dns == ("10.0.0.1", "10.0.0.2")
    assert [mount.size for mount in found.mounts] == [2**20]


def test_nested_mappings_are_merged_and_nulls_change_nothing() -> None:
    files = ("deploy: {replicas: 2, labels: {a: 1}}", "deploy: {mode: replicated, labels: [b=2]}", "deploy: ")
    stack = load(service_text(files[0]), *(service_text(body, image="") for body in files[1:]))
    assert stack.services[0].replicas == 2
    assert stack.services[0].spec.labels == {"a": "1", "b": "2"}


def test_logging_of_another_driver_is_replaced() -> None:
    same = merged("logging: {driver: local, options: {a: 1}}", "logging: {options: {b: 2}}")
    other = merged("logging: {driver: local, options: {a: 1}}", "logging: {driver: journald, options: {b: 2}}")
    assert same.logging is not None
    assert same.logging.options == {"a": "1", "b": "2"}
    assert other.logging is not None
    assert other.logging.options == {"b": "2"}


def test_reset_takes_away_and_override_replaces() -> None:
    found = merged(
        "user: a\nenvironment: {A: 1, B: 1}\ncap_add: [A]\ndns: 10.0.0.1",
        "user: !reset null\nenvironment: !override {C: 3}\ncap_add: !override [B]\ndns: !reset []",
    )
    assert (found.user, found.environment, found.cap_add, found.dns) == ("", {"C": "3"}, ("B",), ())
    again = merged("user: a", "user: !reset null", "user: c")
    assert again.user == "c"


def test_services_and_volumes_of_all_files_come_together() -> None:
    stack = load(service_text("volumes: ['d:/d']"), "services: {db: {image: redis}}\nvolumes: {d: {driver: nfs}}\n")
    assert [service.spec.name for service in stack.services] == ["demo_web", "demo_db"]
    assert stack.services[0].spec.task.container.mounts[0].driver == "nfs"


def test_a_broken_second_file_is_told_together_with_the_first() -> None:
    with pytest.raises(ManifestError) as caught:
        load(service_text("usr: a"), "services: [\n")
    assert "stack.yaml:4" in str(caught.value)
    assert "more1.yaml:2: not YAML" in str(caught.value)


def test_a_service_extends_another_through_a_chain() -> None:
    text = """
services:
  base: {image: app, environment: {A: 1, B: 1}, command: [a], volumes: ['./a:/a']}
  mid: {extends: base, environment: [B=2]}
  web:
    extends: {service: mid}
    command: [c]
    volumes: ['./b:/b']
"""
    found = {service.spec.name: service.spec.task.container for service in load(text).services}["demo_web"]
    assert (found.image, found.command, found.environment) == ("app", ("c",), {"A": "1", "B": "2"})
    assert [mount.target for mount in found.mounts] == ["/a", "/b"]


def test_a_circle_of_extends_is_shown() -> None:
    with pytest.raises(ManifestError) as caught:
        load("services:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n")
    told = str(caught.value)
    assert "stack.yaml:4: services.c.extends: services extend each other in a circle: a -> b -> c -> a" in told
    assert "without `image`" not in told
