"""Token rule, subjects, error tree, placeholders, fingerprints, answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.api import REQUESTS
from schemas.clock import SystemClock, iso
from schemas.errors import BadMessage, Conflict, Internal, MeshError, NotFound, error_of
from schemas.memberapi import AGENT_REQUESTS
from schemas.nodeapi import NODE_REQUESTS
from schemas.placeholders import KNOWN, expand, unknown_placeholders
from schemas.records import StackRecord
from schemas.replies import open_reply, reply_error, reply_with
from schemas.requests import Ask, Command, Written
from schemas.spec import ContainerSpec, TaskSpec
from schemas.wire import decode, encode, fingerprint


def tree(kind: type[MeshError]) -> list[type[MeshError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]


ERRORS = [kind for kind in tree(MeshError) if kind.__module__ == "schemas.errors"]


@pytest.mark.parametrize("name", ["a", "web", "node-1", "a_b", "0", "a" * 63])
def test_these_are_tokens(name: str) -> None:
    assert subjects.is_token(name)
    assert subjects.suggest_token(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "_", "A", "a.b", "a b", "a*", ">", "ä", "a" * 64, "a\n", "a/b"])
def test_these_are_no_tokens(name: str) -> None:
    assert not subjects.is_token(name)
    with pytest.raises(BadMessage):
        decode(encode({"name": name, "revision": 1}), StackRecord)


@given(st.text(max_size=80))
def test_a_suggestion_is_a_token_or_nothing(name: str) -> None:
    suggestion = subjects.suggest_token(name)
    assert suggestion == "" or subjects.is_token(suggestion)


@pytest.mark.parametrize(("name", "wanted"), [("My Stack", "my-stack"), ("web.1", "web-1"), ("--", ""), ("Ä", "")])
def test_a_suggestion_is_near(name: str, wanted: str) -> None:
    assert subjects.suggest_token(name) == wanted


def test_no_two_kinds_of_records_share_a_key() -> None:
    keys = [
        subjects.MESH,
        subjects.EPOCH,
        subjects.BRAKE,
        subjects.EVENTS_CURSOR,
        subjects.service_key("x"),
        subjects.revision_key("x", 1),
        subjects.stack_key("x"),
        subjects.node_key("x"),
        subjects.order_key("x"),
        subjects.rollout_key("x"),
        subjects.desired_key("x"),
        subjects.liveness_key("x"),
        subjects.cursor_key("x"),
    ]
    assert len(set(keys)) == len(keys)
    assert len({key.split(".")[0] for key in keys if key.endswith(".x")}) == sum(key.endswith(".x") for key in keys)


def test_an_event_names_node_and_service_or_neither() -> None:
    assert subjects.event("task.started", "n1", "web") == "mesh.event.task.started.n1.web"
    assert subjects.event("brake.engaged") == "mesh.event.brake.engaged._._"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_crosses_the_wire(kind: type[MeshError]) -> None:
    told = reply_error(kind("what happened", hint="what to do"))
    with pytest.raises(MeshError) as raised:
        open_reply(told, Written)
    assert (raised.value.message, raised.value.hint) == ("what happened", "what to do")
    if kind not in (MeshError, Internal):
        assert type(raised.value) is kind


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in ERRORS if kind not in (MeshError, Internal)]
    assert len(set(codes)) == len(codes)


def test_exit_codes_are_those_that_are_promised() -> None:
    by_code = {kind.code: kind.exit_code for kind in ERRORS}
    wanted = {"usage": 2, "manifest": 2, "unreachable": 3, "not_found": 4, "conflict": 5, "refused": 6}
    wanted |= {"timed_out": 7, "rollout.failed": 8, "internal": 70}
    assert {code: by_code[code] for code in wanted} == wanted


def test_an_unknown_error_of_a_newer_peer_is_internal() -> None:
    assert type(error_of("from.the.future", "x")) is Internal
    assert isinstance(error_of("conflict", "x"), Conflict)
    assert not NotFound("x").retryable


def test_a_good_answer_gives_its_body_and_garbage_is_told() -> None:
    assert open_reply(reply_with(Written(sequence=7)), Written).sequence == 7
    with pytest.raises(BadMessage):
        open_reply(b"garbage", Written)
    with pytest.raises(BadMessage):
        open_reply(reply_with({"sequence": "x"}), Written)


def test_every_request_reads_or_commands() -> None:
    for subject, (request, _) in REQUESTS.items():
        noun, verb = subject.split(".")
        assert subjects.is_token(noun)
        assert subjects.is_token(verb)
        assert issubclass(request, Ask | Command), subject
    assert all(subjects.is_token(verb) for verb in [*AGENT_REQUESTS, *NODE_REQUESTS])


def test_placeholders_are_filled_and_unknown_ones_are_named() -> None:
    values = {"Service.Name": "web", "Task.Slot": "3"}
    assert expand("{{.Service.Name}}-{{ .Task.Slot }}", values) == "web-3"
    assert expand("{{.Node.Hostname}}!", values) == "!"
    assert expand("{{.Nope}} {{json .Service.Name}}", values) == "{{.Nope}} {{json .Service.Name}}"
    assert unknown_placeholders("{{.Nope}} {{.Service.Name}} {{.Service.Labels.a.b}} {{x}}") == (".Nope", "x")
    assert expand("{{.Service.Labels.tier}}", {"Service.Labels.tier": "front"}) == "front"


@given(st.sampled_from(sorted(KNOWN)), st.text(alphabet="ab {}", max_size=10))
def test_a_filled_value_is_not_filled_again(name: str, value: str) -> None:
    assert expand(f"x{{{{.{name}}}}}y", {name: value}) == f"x{value}y"


def test_the_spec_hash_is_the_same_for_ever() -> None:
    spec = TaskSpec(container=ContainerSpec(image="redis:7", environment={"B": "2", "A": "1"}))
    same = TaskSpec(container=ContainerSpec(image="redis:7", environment={"A": "1", "B": "2"}))
    assert spec.hash == same.hash == "6ff7fb89fe454369"
    assert spec.hash != TaskSpec(container=ContainerSpec(image="redis:8")).hash
    assert len(fingerprint({})) == 16


def test_times_are_told_in_utc_with_milliseconds() -> None:
    assert iso(1795417452.7413) == "2026-11-23T07:04:12.741Z"
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.wall() > 1_700_000_000
