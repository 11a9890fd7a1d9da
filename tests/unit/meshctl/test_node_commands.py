"""Commands on nodes, end to end on a scripted mesh: what they ask, what they print, how they end."""

from __future__ import annotations

import pytest

from schemas.errors import Refused


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


def test_an_option_without_its_value_points_to_the_help_of_its_command(mesh) -> None:  # type: ignore[no-untyped-def]
    ran = mesh.run("node", "update", "n1", "--label-add")
    assert (ran.code, "node update --help" in ran.err) == (2, True)


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
