"""`meshctl stack history | diff | rollback` on a scripted mesh."""

from __future__ import annotations

from typing import Any

from schemas.errors import Refused
from schemas.serviceapi import Deployed
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.stackapi import StackHistory, StackRevisionView, StackRolledBack
from schemas.stacks import StackMember
from tests.unit.meshctl.conftest import ScriptedMesh


def spec(image: str) -> ServiceSpec:
    return ServiceSpec(name="shop_web", stack="shop", task=TaskSpec(container=ContainerSpec(image=image)))


HISTORY = StackHistory(
    stack="shop",
    revisions=(
        StackRevisionView(
            number=3,
            services={"shop_web": StackMember(revision=2, replicas=4), "shop_new": StackMember(revision=1)},
            target=True,
            specs={"shop_web": spec("web:2"), "shop_new": spec("new:1")},
        ),
        StackRevisionView(
            number=2,
            services={"shop_web": StackMember(revision=1, replicas=2), "shop_old": StackMember(revision=1)},
            good=True,
            last_good=True,
            specs={"shop_web": spec("web:1"), "shop_old": spec("old:1")},
        ),
    ),
)


def answer(**changes: Any) -> StackRolledBack:
    given: dict[str, Any] = {
        "sequence": 9,
        "revision": 2,
        "before": 3,
        "services": (
            Deployed(service="shop_web", change="rolled_back", revision=1, deploy=3),
            Deployed(service="shop_old", change="created", revision=1, deploy=1),
        ),
        "pruned": ("shop_new",),
        "targets": {"shop_web": 2},
        "replicas": {"shop_web": 2},
    }
    return StackRolledBack(**{**given, **changes})


def test_history_tells_what_each_revision_changed_and_which_came_up(scripted: ScriptedMesh) -> None:
    scripted.answer("stack.history", HISTORY)
    ran = scripted.run("stack", "history", "shop")
    assert ran.code == 0
    newest, older = ran.out.splitlines()[1:]
    assert newest.split()[0] == "3"
    assert "target" in newest
    assert "+ shop_new, - shop_old, shop_web 1 -> 2" in newest
    assert "last good" in older
    assert scripted.run("stack", "history", "shop", "-q").out.split() == ["3", "2"]


def test_diff_goes_by_service_and_field(scripted: ScriptedMesh) -> None:
    scripted.answer("stack.history", HISTORY)
    assert scripted.run("stack", "diff", "shop", "2..3").out.splitlines() == [
        "+ service shop_new",
        "- service shop_old",
        "~ service shop_web: revision 1 -> 2",
        "    ~ replicas: 2 -> 4",
        '    ~ task.container.image: "web:1" -> "web:2"',
    ]
    assert scripted.requests("stack.history")[0].specs == (2, 3)
    assert "are the same" in scripted.run("stack", "diff", "shop", "3..3").out
    assert scripted.run("stack", "diff", "shop", "three").code == 2


def test_a_preview_says_what_is_removed_and_brought_back(scripted: ScriptedMesh) -> None:
    scripted.answer("stack.rollback", answer())
    ran = scripted.run("stack", "rollback", "shop", "--to", "2", "--preview")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [
            "Stack shop would go to revision 2",
            "  ~ service shop_web: revision 2 -> 1",
            "  ~ service shop_web: 2 replicas",
            "  + service shop_old is brought back: revision 1",
            "  - service shop_new is removed: the older revision does not have it",
        ],
    )
    (asked,) = scripted.requests("stack.rollback")
    assert (asked.to, asked.preview, asked.last_good) == (2, True, False)


def test_a_roll_back_to_where_it_is_does_nothing_and_says_so(scripted: ScriptedMesh) -> None:
    same = (Deployed(service="shop_web", change="unchanged", revision=1, deploy=1),)
    scripted.answer("stack.rollback", answer(services=same, pruned=(), replicas={}, before=2))
    ran = scripted.run("stack", "rollback", "shop", "--last-good")
    assert (ran.code, ran.out.strip()) == (0, "Stack shop is at revision 2 already: nothing to do")


def test_what_can_not_be_meant_or_done_is_told(scripted: ScriptedMesh) -> None:
    assert scripted.run("stack", "rollback", "shop", "--to", "2", "--last-good").code == 2
    scripted.answer("stack.rollback", Refused("stack shop has no revision before 1"))
    ran = scripted.run("stack", "rollback", "shop", "-d")
    assert (ran.code, "no revision before 1" in ran.err) == (6, True)
