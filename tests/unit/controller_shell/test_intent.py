"""What a wanted service comes to: created, updated, scaled, unchanged; which revisions stay."""

from __future__ import annotations

from bus.port import Entry
from controller.api.intent import Intent, intend, with_pin
from controller.records import Records
from schemas.records import REVISIONS_KEPT, RevisionRecord, RolloutRecord, ServiceRecord, StackRecord
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, Mode, ServiceSpec, TaskSpec
from schemas.stacks import StackMember, StackRevisionRecord
from schemas.wire import encode


class Store:
    """Records as intents leave them."""

    def __init__(self) -> None:
        self.records = Records()
        self.last = 0

    def deploy(self, image: str, replicas: int | None = None, mode: Mode = "replicated", stack: str = "") -> Intent:
        """Intend and write."""
        spec = ServiceSpec(name="web", mode=mode, stack=stack, task=TaskSpec(container=ContainerSpec(image=image)))
        intent = intend(self.records, ServiceDeploy(spec=spec, replicas=replicas), f"cmd{self.last}", 50.0)
        for key, record in (*intent.records, *intent.cleared):
            self.put(key, record)
        return intent

    def put(self, key: str, record: object) -> None:
        """One write."""
        self.last += 1
        self.records.apply(Entry(key, None if record is None else encode(record), self.last, 0.0))

    @property
    def service(self) -> ServiceRecord:
        """The record that stands."""
        return self.records.services["web"].record


def change(intent: Intent) -> tuple[str, int, int]:
    return (intent.deployed.change, intent.deployed.revision, intent.deployed.deploy)


def test_a_new_service_gets_revision_one_and_one_replica() -> None:
    store = Store()
    assert change(store.deploy("app:1")) == ("created", 1, 1)
    assert (store.service.replicas, store.service.change, store.service.cause) == (1, "created", "cmd0")


def test_the_same_again_writes_nothing() -> None:
    store = Store()
    store.deploy("app:1", 3)
    again = store.deploy("app:1", 3)
    assert change(again) == ("unchanged", 1, 1)
    assert again.records == ()
    assert store.deploy("app:1").records == (), "replicas that are not named stay as they are"


def test_other_replicas_alone_are_a_scale_and_raise_no_deploy() -> None:
    store = Store()
    store.deploy("app:1", 3)
    assert change(store.deploy("app:1", 5)) == ("scaled", 1, 1)
    assert store.service.replicas == 5


def test_a_global_service_is_not_scaled() -> None:
    store = Store()
    store.deploy("app:1", mode="global")
    assert change(store.deploy("app:1", 5, mode="global")) == ("unchanged", 1, 1)


def test_another_spec_is_another_revision_and_keeps_replicas() -> None:
    store = Store()
    store.deploy("app:1", 3)
    assert change(store.deploy("app:2")) == ("updated", 2, 2)
    assert (store.service.target, store.service.replicas) == (2, 3)
    assert change(store.deploy("app:1")) == ("updated", 3, 3), "never an old number again"


def test_a_failed_rollout_is_tried_again_by_the_same_deploy() -> None:
    store = Store()
    store.deploy("app:1")
    store.put("rollout.web", RolloutRecord(service="web", deploy=1, phase="failed"))
    again = store.deploy("app:1")
    assert change(again) == ("updated", 1, 2)
    assert [key for key, _ in again.records] == ["service.web"]


def test_a_service_that_is_being_removed_is_made_anew_with_higher_numbers() -> None:
    store = Store()
    store.deploy("app:1")
    store.put("service.web", ServiceRecord(name="web", target=1, removed=True))
    assert change(store.deploy("app:1")) == ("created", 2, 2)
    assert not store.service.removed


def test_the_last_revisions_are_kept_and_always_those_that_a_rollout_needs() -> None:
    store = Store()
    store.deploy("app:0")
    store.put("rollout.web", RolloutRecord(service="web", deploy=1, revision=1))
    for number in range(1, 15):
        store.deploy(f"app:{number}")
    kept = store.records.revisions_of("web")
    assert kept[0] == 1
    assert kept[1:] == tuple(range(15 - REVISIONS_KEPT + 1, 16))
    assert isinstance(store.records.revisions[("web", 15)], RevisionRecord)


def test_a_pin_is_put_into_the_spec_and_makes_it_another() -> None:
    spec = ServiceSpec(name="web", task=TaskSpec(container=ContainerSpec(image="app:1")))
    pinned = with_pin(spec, "sha256:ab")
    assert pinned.task.container.image_id == "sha256:ab"
    assert pinned.task.hash != spec.task.hash
    assert with_pin(pinned, "sha256:ab") is pinned


def test_a_revision_that_a_kept_revision_of_its_stack_names_is_kept() -> None:
    store = Store()
    store.put("stack.shop", StackRecord(name="shop", services={"web": 1}))
    store.put("stackrev.shop.1", StackRevisionRecord(number=1, services={"web": StackMember(revision=2)}))
    for number in range(14):
        store.deploy(f"app:{number}", stack="shop")
    assert store.records.revisions_of("web") == (2, *range(5, 15))
    store.put("stackrev.shop.1", None)
    store.deploy("app:15", stack="shop")
    assert store.records.revisions_of("web") == tuple(range(6, 16))
