"""Which service gets which port of all nodes, round after round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bus.port import Entry
from controller.api.networks import check_attached
from controller.endpoints import FREE_PORTS, publish
from controller.records import Records
from schemas.errors import Conflict
from schemas.network import Attachment, Publication, PublishRecord
from schemas.ports import Port
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.wire import encode

NOTHING = PublishRecord()
POOL = Port(target=80, published=8000, published_last=8002, mode="ingress")
NAMED = Port(target=80, published=8000, mode="ingress")
ANY = Port(target=80, mode="ingress")


def service(name: str, *ports: Port) -> ServiceSpec:
    container = ContainerSpec(image="x", networks=(Attachment(network="front"),), ports=ports)
    return ServiceSpec(name=name, task=TaskSpec(container=container))


def who(record: PublishRecord) -> dict[int, str]:
    return {port.published: port.service for port in record.ports}


def test_a_range_gives_its_first_free_port() -> None:
    found = publish([service("b", POOL), service("c", NAMED), service("a", POOL)], NOTHING)
    assert who(found) == {8000: "c", 8001: "a", 8002: "b"}
    assert found.refused == {}


def test_a_port_of_a_range_is_kept_while_others_come_and_go() -> None:
    first = publish([service("m", POOL), service("n", POOL)], NOTHING)
    assert who(first) == {8000: "m", 8001: "n"}
    joined = publish([service("a", POOL), service("m", POOL), service("n", POOL)], first)
    assert who(joined) == {8000: "m", 8001: "n", 8002: "a"}
    left = publish([service("a", POOL), service("n", POOL)], joined)
    assert who(left) == {8001: "n", 8002: "a"}
    assert publish([service("n", POOL), service("a", POOL)], left) == left


def test_an_update_keeps_a_port_that_will_still_do() -> None:
    named = publish([service("web", replace(NAMED, published=8001))], NOTHING)
    ranged = publish([service("web", POOL)], named)
    assert who(ranged) == {8001: "web"}
    moved = publish([service("web", replace(POOL, published=9000, published_last=9010))], ranged)
    assert who(moved) == {9000: "web"}


def test_a_port_that_somebody_names_is_nobody_elses_choice() -> None:
    held = publish([service("a", POOL), service("b", ANY)], NOTHING)
    assert who(held) == {8000: "a", FREE_PORTS[0]: "b"}
    named = [service("y", NAMED), service("z", replace(NAMED, published=FREE_PORTS[0]))]
    assert who(publish([service("a", POOL), service("b", ANY), *named], held)) == {
        8000: "y",
        8001: "a",
        FREE_PORTS[0]: "z",
        FREE_PORTS[1]: "b",
    }


def test_a_new_service_does_not_take_the_port_that_another_was_given() -> None:
    held = publish([service("m", ANY)], NOTHING)
    assert who(publish([service("a", ANY), service("m", ANY)], held)) == {FREE_PORTS[0]: "m", FREE_PORTS[1]: "a"}


def test_a_range_that_others_have_is_refused_with_their_names() -> None:
    names = ("a", "b", "c", "d", "e", "f")
    wide = replace(POOL, published_last=8004)
    found = publish([service(name, wide) for name in names], NOTHING)
    assert found.refused == {"f": "no port of 8000-8004/tcp is free: published by a, b, c and 2 more"}
    found = publish([service("web", *(replace(POOL, target=80 + more) for more in range(4)))], NOTHING)
    assert found.refused == {"web": "no port of 8000-8002/tcp is free: published by web"}
    assert publish([service("a", NAMED), service("b", NAMED)], NOTHING).refused == {
        "b": "port 8000/tcp is published by a"
    }


def test_ports_of_one_target_do_not_change_places() -> None:
    ports = (ANY, replace(POOL, published=8001, published_last=8005), POOL, replace(NAMED, published=40_000))
    record = publish([service("web", *ports)], NOTHING)
    assert who(record) == dict.fromkeys((8000, 8001, FREE_PORTS[0], 40_000), "web")
    assert publish([service("web", *ports)], record) == record


ports = st.builds(
    lambda target, first, width, protocol: Port(
        target=target,
        published=first,
        published_last=first + width if width else 0,
        protocol=protocol,
        mode="ingress",
    ),
    st.sampled_from([80, 81]),
    st.sampled_from([0, 8000, 8001, 8002, 30_000]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from(["tcp", "tcp", "udp"]),
)
meshes = st.dictionaries(st.sampled_from("abcdef"), st.lists(ports, max_size=3), max_size=6)


@given(st.lists(meshes, min_size=1, max_size=4))
def test_rounds_come_to_rest_and_each_has_what_it_asked_for(deploys: list[dict[str, list[Port]]]) -> None:
    record = NOTHING
    for deploy in deploys:
        specs = [service(name, *each) for name, each in deploy.items()]
        record = publish(specs, record)
        assert publish(reversed(specs), record) == record
        wanted = [(name, port) for name, each in deploy.items() for port in each]
        named = {(port.published, port.protocol) for _, port in wanted if len(port.choices) == 1}
        for held in record.ports:
            asked = [port for name, port in wanted if name == held.service and fits(port, held)]
            assert asked, f"{held} is nobody's wish"
            if (held.published, held.protocol) in named:
                assert any(len(port.choices) == 1 for port in asked), f"{held} is what another names"
        for name, port in wanted:
            has = any(held.service == name and fits(port, held) for held in record.ports)
            assert has or name in record.refused


def fits(port: Port, held: Publication) -> bool:
    same = (port.target, port.protocol) == (held.target, held.protocol)
    return same and (not port.choices or held.published in port.choices)


def test_a_deploy_is_refused_where_others_have_all_of_its_range() -> None:
    full = publish([service("a", POOL), service("b", replace(NAMED, published=8001)), service("c", POOL)], NOTHING)
    records = Records()
    records.apply(Entry("endpoints.publish", encode(full), 1, 0.0))
    with pytest.raises(Conflict) as refused:
        check_attached(records, [service("web", POOL)], ("front",))
    said = "service web: no port of 8000-8002/tcp is free: published by a, b, c"
    assert (refused.value.message, refused.value.hint) == (said, "choose another or a longer range")
    with pytest.raises(Conflict, match="port 8000/tcp is published by a"):
        check_attached(records, [service("web", NAMED)], ("front",))
    check_attached(records, [service("a", POOL), service("web", replace(POOL, published_last=8003))], ("front",))
