"""`meshctl service promote | abort` on a scripted mesh."""

from __future__ import annotations

import pytest

from schemas.errors import Refused
from schemas.records import UpdateProgress
from schemas.requests import Written
from schemas.revisionapi import PromoteService, RollbackService
from schemas.serviceapi import DeployAnswer, Deployed, ServiceList
from tests.unit.meshctl.answers import service
from tests.unit.meshctl.conftest import ScriptedMesh

BACK = DeployAnswer(sequence=9, services=(Deployed(service="hello_web", change="rolled_back", revision=1, deploy=3),))


def test_a_promotion_is_told_and_waited_for(mesh: ScriptedMesh) -> None:
    mesh.answer("service.promote", Written(sequence=9))
    ran = mesh.run("service", "promote", "hello_web")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "Service hello_web: revision 1 goes to all slots"
    assert ran.out.splitlines()[-1].startswith("Service hello_web runs revision 1, ")
    (asked,) = mesh.requests("service.promote")
    assert isinstance(asked, PromoteService)
    assert asked.service == "hello_web"
    assert asked.command, "asked again, it is the same command"


def test_an_abort_takes_the_canary_back_and_nothing_else(mesh: ScriptedMesh) -> None:
    mesh.answer("service.rollback", BACK)
    ran = mesh.run("service", "abort", "hello_web")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "Service hello_web goes back to revision 1"
    assert ran.out.splitlines()[-1].startswith("Service hello_web runs revision 1, ")
    (asked,) = mesh.requests("service.rollback")
    assert isinstance(asked, RollbackService)
    assert (asked.service, asked.to, asked.canary) == ("hello_web", 0, True)


@pytest.mark.parametrize("word", ["promote", "abort"])
def test_detached_it_waits_for_nothing(mesh: ScriptedMesh, word: str) -> None:
    mesh.answer("service.promote", Written(sequence=9))
    mesh.answer("service.rollback", BACK)
    mesh.answer("service.list", ServiceList(services=(service(running=0, phase="converging"),)))
    ran = mesh.run("service", word, "--detach", "hello_web")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)


@pytest.mark.parametrize("word", ["promote", "abort"])
def test_where_there_is_no_canary_it_is_refused(mesh: ScriptedMesh, word: str) -> None:
    error = Refused("service hello_web has no canary")
    mesh.answer("service.promote", error)
    mesh.answer("service.rollback", error)
    ran = mesh.run("service", word, "hello_web")
    assert (ran.code, ran.out) == (6, "")
    assert "has no canary" in ran.err


def test_a_promotion_of_an_unknown_service_writes_nothing(mesh: ScriptedMesh) -> None:
    ran = mesh.run("service", "promote", "web")
    assert (ran.code, mesh.requests("service.promote")) == (4, [])
    assert "did you mean 'hello_web'?" in ran.err


def test_a_promotion_that_fails_exits_with_8(mesh: ScriptedMesh) -> None:
    mesh.answer("service.promote", Written(sequence=9))
    update = UpdateProgress(state="paused", why="1 of 2 new tasks failed")
    fallen = service(running=1, phase="failed", update=update, revision=1, deploy=1)
    mesh.answer("service.list", ServiceList(services=(fallen,)))
    ran = mesh.run("service", "promote", "hello_web")
    assert ran.code == 8, ran.out + ran.err
