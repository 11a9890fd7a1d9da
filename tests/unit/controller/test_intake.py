"""What agents tell is cut to what an honest one says."""

from __future__ import annotations

import msgspec
import pytest

from bus.port import Entry
from controller.intake import ENTRIES, NETWORKS, ROUTES, TEXT, tidy_heartbeat, tidy_observation
from controller.records import observed_of
from schemas.liveness import Heartbeat
from schemas.observation import BoundPort, NodeFacts, Observation, ObservedTask
from schemas.spec import UpdatePolicy
from schemas.wire import encode
from tests.unit.controller.rolling import standing, web

LONG = "x" * 100_000


def task(**changes: object) -> ObservedTask:
    made = ObservedTask(id="1-1", service="web", slot="1", revision=1, spec="abc", state="running")
    return msgspec.structs.replace(made, **changes)


def told(**changes: object) -> Observation:
    made = Observation(node="n1", instance="a", boot="b", counter=1, tasks=(task(error="boom"),), volumes=("data",))
    return msgspec.structs.replace(made, **changes)


def test_what_an_honest_agent_tells_is_the_very_same() -> None:
    honest = told(facts=NodeFacts(routes=("10.0.0.0/8",)), troubles={"8080/tcp": "taken"})
    assert tidy_observation(honest) is honest
    beat = Heartbeat(node="n1", instance="a", boot="b", count=1, engine="it hangs", networks=("front",))
    assert tidy_heartbeat(beat) is beat


def test_what_is_too_long_is_cut_and_the_rest_stands() -> None:
    found = tidy_observation(
        told(
            engine=LONG,
            tasks=(
                task(),
                task(id=LONG),
                task(
                    id="1-3",
                    error=LONG,
                    not_ready=LONG,
                    log_tail=(LONG,) * 50,
                    ports=(BoundPort(target=1, published=2),) * (ENTRIES + 1),
                    addresses={LONG: "10.0.0.1", "app": LONG},
                ),
            ),
            volumes=("data", LONG),
            facts=NodeFacts(hostname=LONG, routes=("10.0.0.0/8",) * 65_000, sysctls={"a": LONG}),
            troubles={"1/tcp": LONG, LONG: "x"},
            prepared={"spec": LONG},
            ports_taken=(BoundPort(target=1, published=2),) * (ENTRIES + 1),
        )
    )
    assert [each.id for each in found.tasks] == ["1-1", "1-3"]
    assert len(encode(found)) < 10 * TEXT + ENTRIES * 100
    assert found.tasks[0] == task()
    assert found.tasks[1].error.endswith("...")
    assert len(found.facts.routes) == ROUTES
    assert found.volumes == ("data",)
    beat = Heartbeat(node="n1", instance="a", boot="b", count=1, engine=LONG, untold=LONG, networks=("front",) * 5000)
    found_beat = tidy_heartbeat(beat)
    assert (len(found_beat.engine), len(found_beat.untold), len(found_beat.networks)) == (TEXT, TEXT, NETWORKS)


def test_what_is_stored_is_read_so() -> None:
    observation = observed_of(Entry("n1", encode(told(engine=LONG)), 1, 0.0))
    assert isinstance(observation, Observation)
    assert len(observation.engine) == TEXT


@pytest.mark.parametrize("length", [100, 900_000])
def test_a_failure_of_any_length_stops_an_update_as_its_policy_says(length: int) -> None:
    """Its reason is kept with the rollout, which has to be stored before the task is forgotten."""
    stage = standing(3, UpdatePolicy(parallelism=1, monitor=1.0))
    stage.deploy(web("web:bad", update=UpdatePolicy(parallelism=1, monitor=1.0)), 3)
    for _ in range(150):
        stage.step()
        for agent in stage.mesh.agents.values():
            for id_, each in agent.tasks.items():
                if each.state == "failed":
                    agent.tasks[id_] = msgspec.structs.replace(each, error="e" * length)
    assert stage.rollout.update.state == "paused"
    assert len(encode(stage.rollout)) < 64 * 1024
