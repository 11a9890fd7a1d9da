"""Nodes that are unlike most: the majority, snowflakes, and two side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshctl.views.fingerprints import difference_listing, fingerprint, majority, snowflakes
from schemas.memberapi import NodeList, NodeView
from schemas.observation import NodeFacts


def facts(**changes: object) -> NodeFacts:
    given_ = {"kernel": "6.1.0", "engine_version": "26.1", "cgroup": "v2 systemd", "sysctls": {"vm.swappiness": "60"}}
    return NodeFacts(**{**given_, **changes})  # type: ignore[arg-type]


def view(name: str, **changes: object) -> NodeView:
    return NodeView(node=name, status="ready", availability="active", facts=facts(**changes))


def test_a_node_unlike_more_than_half_is_told_with_the_traits() -> None:
    prints = {name: fingerprint(facts()) for name in ("n1", "n2", "n3")}
    assert snowflakes(prints) == {}
    prints["n4"] = fingerprint(facts(kernel="5.10", sysctls={"vm.swappiness": "1", "vm.max_map_count": "65530"}))
    assert snowflakes(prints) == {"n4": ("kernel", "vm.swappiness")}


def test_without_a_majority_or_with_two_nodes_nobody_is_odd() -> None:
    assert snowflakes({"n1": {"kernel": "a"}, "n2": {"kernel": "b"}}) == {}
    halves = {"n1": "a", "n2": "a", "n3": "b", "n4": "b"}
    assert snowflakes({node: {"kernel": value} for node, value in halves.items()}) == {}


def test_a_node_that_tells_nothing_is_not_odd() -> None:
    prints = {name: fingerprint(facts()) for name in ("n1", "n2", "n3")}
    assert snowflakes({**prints, "n4": fingerprint(NodeFacts())}) == {}


@given(
    st.dictionaries(st.text(max_size=2), st.dictionaries(st.sampled_from("kse"), st.sampled_from("abc")), max_size=8)
)
def test_most_nodes_are_never_odd_in_a_trait(prints: dict[str, dict[str, str]]) -> None:
    odd = snowflakes(prints)
    for trait, value in majority(prints).items():
        telling = [node for node, traits in prints.items() if trait in traits]
        strange = [node for node in telling if trait in odd.get(node, ())]
        assert len(telling) >= 3
        assert 2 * len(strange) < len(telling)
        assert all(prints[node][trait] != value for node in strange)
    assert snowflakes(dict(reversed(list(prints.items())))) == odd


def test_two_nodes_side_by_side() -> None:
    listing = difference_listing(view("n1"), view("n2", kernel="5.10", cgroup=""))
    assert [column.header for column in listing.columns] == ["TRAIT", "N1", "N2"]
    assert listing.rows == [
        {"Trait": "kernel", "First": "6.1.0", "Second": "5.10"},
        {"Trait": "cgroup", "First": "v2 systemd", "Second": "-"},
    ]


def test_node_ls_marks_them_and_node_diff_shows_how(scripted) -> None:  # type: ignore[no-untyped-def]
    nodes = (view("n1"), view("n2"), view("n3", kernel="5.10"))
    scripted.answer("node.list", NodeList(nodes=nodes))
    assert "DIFFERS" in scripted.run("node", "ls").out
    assert scripted.run("node", "ls", "--format", "{{.Hostname}} {{.Differs}}").out == "n1 \nn2 \nn3 kernel\n"
    assert "5.10" in scripted.run("node", "diff", "n1", "n3").out
    assert scripted.run("node", "diff", "n1", "n2").out == "n1 and n2 do not differ\n"
