"""`meshctl service refresh` and `stack refresh` on a scripted mesh."""

from __future__ import annotations

from schemas.refreshapi import RefreshAnswer, Refreshed
from tests.unit.meshctl.conftest import ScriptedMesh

MOVED = Refreshed(
    service="web", image="web:1", change="moved", before="sha256:" + "a" * 64, after="sha256:" + "b" * 64, revision=4
)
SAME = Refreshed(service="api", image="api:1", change="same")
FIXED = Refreshed(service="db", image="db@sha256:" + "c" * 64, change="fixed")
UNKNOWN = Refreshed(service="job", image="job:1", change="unknown", why="no node can get image job:1")


def test_what_moved_and_what_did_not_is_told(scripted: ScriptedMesh) -> None:
    scripted.answer("service.refresh", RefreshAnswer(sequence=5, services=(SAME, FIXED, MOVED)))
    ran = scripted.run("service", "refresh", "-d", "web", "api", "db")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [
            "api: api:1 has not moved",
            f"db: db@sha256:{'c' * 64} is named by digest and never moves",
            f"web: web:1 has moved, {'a' * 12} -> {'b' * 12}: revision 4",
        ],
    )
    assert scripted.requests("service.refresh")[0].services == ("web", "api", "db")


def test_nothing_to_roll_is_a_success_and_an_image_that_nobody_knows_is_none(scripted: ScriptedMesh) -> None:
    scripted.answer("service.refresh", RefreshAnswer(sequence=5, services=(SAME,)))
    ran = scripted.run("stack", "refresh", "shop")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "Nothing has moved: nothing was done.")
    assert scripted.requests("service.refresh")[0].stack == "shop"
    scripted.answer("service.refresh", RefreshAnswer(sequence=5, services=(SAME, UNKNOWN)))
    ran = scripted.run("service", "refresh")
    assert "job: stays as it is: no node can get image job:1" in ran.out
    assert "can't be told for job" in ran.err
    assert ran.code == 6
