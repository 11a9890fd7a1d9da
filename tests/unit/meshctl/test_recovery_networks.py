"""Networks of a store that is made anew: what agents hold of them, and what a backup knows."""

from __future__ import annotations

import msgspec
import pytest

from meshctl.rebuilding_networks import rebuilt_networks
from schemas.assignment import AssignedTask, Assignment
from schemas.network import AllocationRecord, Attachment, NetworkRecord, NodeRange, Publication, PublishRecord
from schemas.nodeapi import AssignmentView
from schemas.spec import ContainerSpec, TaskSpec

SPEC = TaskSpec(container=ContainerSpec(image="a", networks=(Attachment(network="shop_net"),)))
WEB = Publication(published=30_001, target=80, service="shop_web", network="shop_net")


def allotted(*nodes: str) -> AllocationRecord:
    ranges = {
        node: NodeRange(range=f"10.192.{16 * n}.0/20", gateway=f"10.192.{16 * n}.1", tunnel=f"192.168.0.{n}")
        for n, node in enumerate(nodes)
    }
    return AllocationRecord(network="shop_net", vni=1003, subnet="10.192.0.0/16", vips="10.192.224.0/19", nodes=ranges)


def view(node: str, sequence: int, record: AllocationRecord, stack: str = "shop") -> AssignmentView:
    task = AssignedTask(id=f"t-{node}", service="shop_web", slot="1", revision=1, spec=SPEC.hash, stack=stack)
    return AssignmentView(
        node=node,
        instance="i",
        mesh_id="m",
        assignment=Assignment(node=node, epoch=1, generation=1, tasks=(task,), specs={SPEC.hash: SPEC}),
        allocations={"shop_net": record},
        allotted={"shop_net": sequence},
        publish=PublishRecord(ports=(WEB,)),
        published=sequence,
        networks_known=sequence,
    )


OLD, NEW = view("n1", 10, allotted("n1")), view("n2", 30, allotted("n1", "n2"))


def test_the_newest_allotment_stands_again_and_its_network_with_it() -> None:
    found = {key: record for key, (record, _) in rebuilt_networks({}, {}, {}, [OLD, NEW], intent=True).records.items()}
    assert found["alloc.shop_net"] == allotted("n1", "n2")
    assert found["endpoints.publish"] == PublishRecord(ports=(WEB,))
    network = found["network.shop_net"]
    assert isinstance(network, NetworkRecord)
    assert (network.stack, network.node_prefix, network.subnet, network.removed) == ("shop", 20, "", False)
    assert not network.attachable


def test_a_network_that_several_stacks_use_or_that_is_called_otherwise_is_nobodys() -> None:
    for views in ([OLD, view("n3", 1, allotted(), "other")], [view("n1", 1, allotted(), "sho")]):
        record, _ = rebuilt_networks({}, {}, {}, views, intent=True).records["network.shop_net"]
        assert isinstance(record, NetworkRecord)
        assert record.stack == ""


def test_a_network_that_every_node_has_for_other_containers_stays_so() -> None:
    """Nodes would let go of it, and such containers lose it."""
    shown = msgspec.structs.replace(NEW, publish=PublishRecord(ports=(WEB,), attachable=("shop_net",)))
    record, _ = rebuilt_networks({}, {}, {}, [OLD, shown], intent=True).records["network.shop_net"]
    assert isinstance(record, NetworkRecord)
    assert record.attachable


def test_a_backup_is_right_about_what_is_not_newer_than_it() -> None:
    record = NetworkRecord(name="shop_net", labels={"a": "b"})
    removed = msgspec.structs.replace(record, removed=True)
    stored = {"alloc.shop_net": 30, "endpoints.publish": 30, "network.shop_net": 9}
    assert not rebuilt_networks({"shop_net": record}, {}, stored, [OLD, NEW], intent=True).records
    tomb = {"network.shop_net": 30, "endpoints.publish": 30}
    assert not rebuilt_networks({"shop_net": removed}, {}, tomb, [OLD, NEW], intent=True).records
    older = dict.fromkeys(stored, 20)
    newer = rebuilt_networks({"shop_net": record}, {}, older, [OLD, NEW], intent=True)
    assert set(newer.records) == {"alloc.shop_net", "endpoints.publish"}, "its intent stays the backup's"


def test_a_network_that_was_made_anew_since_it_was_removed_stands() -> None:
    removed = NetworkRecord(name="shop_net", removed=True)
    found = rebuilt_networks({"shop_net": removed}, {}, {"network.shop_net": 20}, [NEW], intent=True).records
    network, _ = found["network.shop_net"]
    assert isinstance(network, NetworkRecord)
    assert not network.removed


def test_what_was_allotted_since_the_backup_stays_allotted_even_if_intent_is_taken_from_it_alone() -> None:
    assert set(rebuilt_networks({}, {}, {}, [NEW], intent=False).records) == {"alloc.shop_net", "endpoints.publish"}


@pytest.mark.parametrize(
    ("vni", "subnet", "clashes"),
    [(1003, "10.200.0.0/16", True), (1004, "10.192.128.0/17", True), (1004, "10.200.0.0/16", False), (0, "", False)],
)
def test_what_was_given_to_another_network_since_the_backup_is_not_given_out_twice(
    vni: int, subnet: str, *, clashes: bool
) -> None:
    """The network of the backup was removed since; if it stands again, it is allotted something else."""
    gone = AllocationRecord(network="old", vni=vni, subnet=subnet)
    found = rebuilt_networks({"old": NetworkRecord(name="old")}, {"old": gone}, {"alloc.old": 9}, [NEW], intent=True)
    assert found.over == ({"alloc.old"} if clashes else set())
