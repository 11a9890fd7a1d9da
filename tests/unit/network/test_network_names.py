"""What a container is answered when it asks for a name."""

from __future__ import annotations

from agent.network.names import Answer, Forward, Names, Unknown, names_of, reply_to
from schemas.network import EndpointsRecord
from tests.unit.network.network_cases import answering, view

ASKER = "10.192.1.9"
BOTH = {"front": ASKER, "back": "10.193.1.9"}


def names(*records: EndpointsRecord) -> Names:
    return names_of(view(*records), [BOTH])


def test_a_service_is_its_virtual_address_and_its_tasks_are_theirs() -> None:
    known = names(answering("web", 1, 2))
    assert reply_to(known, ASKER, "web.", "A") == Answer(("10.192.224.1",), 5)
    assert reply_to(known, ASKER, "WEB", "A") == Answer(("10.192.224.1",), 5)
    assert reply_to(known, ASKER, "tasks.web", "A") == Answer(("10.192.1.2", "10.192.2.2"), 1)


def test_without_a_virtual_address_the_name_is_its_tasks() -> None:
    assert reply_to(names(answering("web", 1, mode="dnsrr")), ASKER, "web", "A") == Answer(("10.192.1.2",), 1)


def test_a_name_that_exists_without_tasks_differs_from_one_that_does_not() -> None:
    known = names(answering("web"))
    assert reply_to(known, ASKER, "tasks.web", "A") == Answer((), 1)
    assert reply_to(known, ASKER, "nosuch", "A") == Unknown()
    assert reply_to(known, ASKER, "tasks.nosuch", "A") == Unknown()


def test_names_of_the_world_are_asked_of_the_machines_resolvers() -> None:
    assert reply_to(names(), ASKER, "example.org", "A") == Forward()


def test_a_known_name_has_no_address_of_the_other_family_and_is_not_unknown() -> None:
    assert reply_to(names(answering("web", 1)), ASKER, "web", "AAAA") == Answer()


def test_a_container_on_two_networks_finds_the_names_of_both() -> None:
    known = names(answering("web", 1), answering("db", 1, network="back", second=193))
    assert reply_to(known, ASKER, "db", "A") == Answer(("10.193.224.2",), 5)
    assert reply_to(known, "10.193.1.9", "web", "A") == Answer(("10.192.224.1",), 5)


def test_names_of_a_network_that_the_asker_is_not_on_do_not_exist() -> None:
    known = names_of(view(answering("web", 1), answering("db", 1, network="back", second=193)), [])
    assert reply_to(known, "10.192.2.5", "web", "A") == Answer(("10.192.224.1",), 5)
    assert reply_to(known, "10.192.2.5", "db", "A") == Unknown()
    assert reply_to(known, "172.17.0.2", "web", "A") == Unknown()
