"""A service about which deciding fails holds up no other, and says so."""

from __future__ import annotations

import pytest

from controller import decide
from controller.work import Work
from tests.unit.controller.model import Mesh, service_spec, three_nodes


def broken_for(*names: str):  # type: ignore[no-untyped-def]
    real = decide.settle

    def settle(work: Work, *others: object) -> None:
        if work.name in names:
            raise KeyError(f"no {work.name}")
        real(work, *others)  # type: ignore[arg-type]

    return settle


def with_two_services() -> Mesh:
    mesh = three_nodes()
    mesh.deploy(service_spec("bad"), replicas=2)
    mesh.settle()
    return mesh


def test_the_others_are_decided_about_and_its_tasks_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = with_two_services()
    before = mesh.running("bad")
    mesh.deploy(service_spec("web"), replicas=3)
    monkeypatch.setattr(decide, "settle", broken_for("bad"))
    mesh.settle()
    assert len(mesh.running("web")) == 3
    assert mesh.running("bad") == before
    mesh.fail("n1", "web")
    mesh.run(3)
    assert len(mesh.running("web")) == 3


def test_it_is_told_in_its_record_and_as_an_alarm_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = with_two_services()
    monkeypatch.setattr(decide, "settle", broken_for("bad"))
    first = mesh.round()
    rollout = mesh.rollouts["bad"]
    assert rollout.phase == "converging"
    assert "by a fault of the controller: KeyError: 'no bad'" in rollout.why
    assert [reason.text for reason in rollout.reasons] == [rollout.why]
    assert any("service bad" in alarm.text for alarm in first.alarms)
    assert [fault.service for fault in first.faults] == ["bad"]
    assert "in settle" in first.faults[0].traceback
    again = mesh.round()
    assert again.changes == ()
    assert again.faults


def test_it_goes_on_once_the_fault_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = with_two_services()
    with monkeypatch.context() as broken:
        broken.setattr(decide, "settle", broken_for("bad"))
        mesh.change_service("bad", replicas=3)
        mesh.settle()
        assert len(mesh.running("bad")) == 2
    mesh.settle()
    assert len(mesh.running("bad")) == 3
    assert mesh.rollouts["bad"].phase == "done"


def test_when_everything_fails_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = three_nodes()
    names = [f"s{number}" for number in range(decide.MOST_BROKEN + 5)]
    for name in names:
        mesh.deploy(service_spec(name))
    monkeypatch.setattr(decide, "settle", broken_for(*names))
    with pytest.raises(Exception, match="KeyError"):
        mesh.round()
    assert mesh.assignments == {} or all(not put.record.tasks for put in mesh.assignments.values())
