"""The nftables text: whole and in smallest changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.network import rules
from agent.network.memory_rules import MemoryTable
from agent.network.model import Rules, wanted
from schemas.network import Publication
from tests.unit.network.network_cases import answering, view

WEB = Publication(published=8080, target=80, service="web", network="front")


def of(*backends: int) -> Rules:
    return wanted(view(answering("web", *backends), ports=(WEB,)), "n1", ["front"], 1500, frozenset()).rules


def test_nothing_is_changed_where_nothing_differs() -> None:
    assert rules.change(of(1, 2), of(1, 2)) == ""


def test_a_change_touches_no_more_than_what_differs() -> None:
    text = rules.change(of(1, 2), of(1, 3))
    assert "10.192.224.1 . 1 : 10.192.2.2" in text
    assert "10.192.224.1 . 1 : 10.192.3.2" in text
    assert "10.192.1.2" not in text
    assert "chain" not in text
    assert "vips" not in text


def test_what_goes_goes_before_what_comes() -> None:
    lines = rules.change(of(1, 2), of(1)).splitlines()
    verbs = [line.split()[0] for line in lines if " element " in line]
    assert verbs == sorted(verbs, key=["delete", "add"].index)
    assert any("add element ip dockmesh vips" in line and "goto n1" in line for line in lines)


def test_chains_are_there_before_anything_goes_to_them() -> None:
    lines = rules.change(of(1), of(1, 2)).splitlines()
    assert next(i for i, line in enumerate(lines) if "chain ip dockmesh n2" in line) < next(
        i for i, line in enumerate(lines) if "goto n2" in line
    )


def test_the_whole_replaces_what_stands_in_one_transaction() -> None:
    text = rules.whole(of(1))
    assert text.startswith("table ip dockmesh {}\ndelete table ip dockmesh\ntable ip dockmesh {")
    assert '"br-m1000" . 10.192.224.1 : goto n1' in text
    assert "tcp . 8080 : goto tcp1" in text
    assert "8080 . 0 : 10.192.1.2 . 80" in text


def test_an_empty_content_names_no_elements() -> None:
    assert " element " not in rules.whole(Rules())


def test_who_is_sent_to_no_more_has_left() -> None:
    assert rules.left(of(1, 2), of(2, 3)) == {"10.192.1.2"}
    assert rules.left(of(1, 2), of(2, 1)) == frozenset()
    assert rules.left(of(1), of()) == {"10.192.1.2"}


def test_who_has_left_one_service_and_is_behind_another_has_not_left() -> None:
    one, other = ("br-m1000", "10.192.224.1"), ("br-m1000", "10.192.224.2")
    before = Rules(services={one: ("10.192.1.2",), other: ("10.192.2.2",)})
    assert rules.left(before, Rules(services={other: ("10.192.1.2",)})) == {"10.192.2.2"}
    assert rules.left(before, Rules(ports={("tcp", 80): (("10.192.2.2", 80),)})) == {"10.192.1.2"}


def table(text: str, table: MemoryTable | None = None) -> MemoryTable:
    found = table or MemoryTable()
    found.load(text)
    return found


ADDRESSES = st.sampled_from([f"10.192.{n}.2" for n in range(1, 5)])
VIPS = st.sampled_from([("br-m1000", f"10.192.224.{n}") for n in range(1, 4)])
BEHIND = st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple)
PORTS = st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(80, 82))
SOME = st.builds(
    Rules,
    services=st.dictionaries(VIPS, BEHIND),
    ports=st.dictionaries(PORTS, BEHIND.map(lambda each: tuple((address, 80) for address in each))),
    local=st.frozensets(ADDRESSES),
    own=st.frozensets(ADDRESSES),
)


@given(SOME, SOME)
def test_a_change_comes_to_the_same_as_the_whole(old: Rules, new: Rules) -> None:
    changed, made = table(rules.change(old, new), table(rules.whole(old))), table(rules.whole(new))
    assert {name: each for name, each in changed.maps.items() if each} == made.maps
    assert rules.left(old, new) == table(rules.whole(old)).destinations() - made.destinations()
