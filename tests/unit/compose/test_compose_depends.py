"""depends_on: what is refused, with its place, and what follows for the services that are waited for."""

from __future__ import annotations

import pytest

from schemas.errors import ManifestError
from schemas.spec import Dependency
from tests.unit.compose.reading import load

WAITS = "services:\n  web:\n    image: a\n    depends_on:\n      migrate: {condition: service_completed_successfully}\n"
CIRCLE = (
    "services:\n  a: {image: x, depends_on: [b]}\n  b:\n    image: x\n    depends_on:\n      c:\n"
    "        condition: service_started\n  c: {image: x, depends_on: [a]}\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CIRCLE,
            "stack.yaml:8: services.c.depends_on[0]: services wait for each other in a circle: a -> b -> c -> a",
        ),
        (
            "services:\n  a:\n    image: x\n    depends_on: [a]\n",
            "stack.yaml:4: services.a.depends_on[0]: a service can't depend on itself — remove it",
        ),
        (
            "services:\n  web:\n    image: x\n    depends_on: [dbs]\n  db: {image: x}\n",
            'stack.yaml:4: services.web.depends_on[0]: there is no service "dbs" — did you mean "db"?',
        ),
        (
            "services:\n  web:\n    image: x\n    depends_on: [db]\n  db: {image: x, profiles: [full]}\n",
            'stack.yaml:4: services.web.depends_on[0]: "db" is left out by its profile — ',
        ),
        (
            "services:\n  web:\n    image: x\n    depends_on: {db: {condition: service_ready}}\n  db: {image: x}\n",
            "stack.yaml:4: services.web.depends_on.db.condition: ",
        ),
        (
            WAITS + "  migrate:\n    image: x\n    restart: always\n",
            "stack.yaml:8: services.migrate.restart: a service that is waited for to complete is restarted whenever",
        ),
    ],
)
def test_what_can_never_be_is_refused_where_it_stands(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(text)
    assert str(caught.value).startswith(said)


def test_one_that_is_not_required_and_left_out_is_not_waited_for() -> None:
    stack = load(
        "services:\n  web:\n    image: x\n    depends_on: {db: {condition: service_healthy, required: false}}\n"
        "  db: {image: x, profiles: [full]}\n"
    )
    assert stack.services[0].spec.depends_on == ()
    assert "is not waited for" in stack.warnings[0]


def test_one_that_is_waited_for_to_complete_is_not_restarted_as_compose_has_it() -> None:
    stack = load(WAITS + "  migrate: {image: x}\n")
    assert stack.services[1].spec.task.restart.condition == "none"
    assert "waited for to complete" in stack.warnings[0]
    again = load(WAITS + "  migrate: {image: x, restart: on-failure}\n")
    assert again.services[1].spec.task.restart.condition == "on-failure"
    assert again.warnings == ()
    assert load(stack.rendered(), stack=None).services == stack.services


def test_both_spellings_are_merged_by_name() -> None:
    base = "services:\n  web: {image: a, depends_on: [db]}\n  db: {image: x}\n  queue: {image: x}\n"
    more = "services:\n  web:\n    depends_on:\n      queue: {condition: service_healthy}\n"
    for first, second in ((base, more), (base, "services: {web: {depends_on: [queue]}}")):
        names = [each.service for each in load(first, second).services[0].spec.depends_on]
        assert names == ["demo_db", "demo_queue"]
    stack = load(base, more)
    assert Dependency(service="demo_queue", condition="service_healthy") in stack.services[0].spec.depends_on


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{affinity: [bd]}", 'stack.yaml:4: services.web.x-mesh.placement.affinity[0]: there is no service "bd"'),
        ("{affinity: [web]}", "stack.yaml:4: services.web.x-mesh.placement.affinity: a service can't wait for itself"),
        (
            "{affinity: [db], anti_affinity: [db]}",
            'stack.yaml:4: services.web.x-mesh.placement.affinity: "demo_db" is avoided, too',
        ),
        (
            "{spread: [zone]}",
            'stack.yaml:4: services.web.x-mesh.placement.spread[0]: "zone" is nothing that nodes have',
        ),
    ],
)
def test_company_that_can_never_be_is_refused_where_it_stands(body: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(f"services:\n  web:\n    image: a\n    x-mesh: {{placement: {body}}}\n  db: {{image: x}}\n")
    assert str(caught.value).startswith(said)
