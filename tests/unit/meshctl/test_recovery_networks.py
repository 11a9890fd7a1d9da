"""Networks of a store that is made anew: what agents hold of them, and what a backup knows."""

from __future__ import annotations

import msgspec

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
    found = {key: record for key, (record, _) in rebuilt_networks({}, (), 0, [OLD, NEW], intent=True).records.items()}
    assert found["alloc.shop_net"] == allotted("n1", "n2")
    assert found["endpoints.publish"] == PublishRecord(ports=(WEB,))
    network = found["network.shop_net"]
    assert isinstance(network, NetworkRecord)
    assert (network.stack, network.node_prefix, network.subnet, network.removed) == ("shop", 20, "", False)


def test_a_network_that_several_stacks_use_or_that_is_called_otherwise_is_nobodys() -> None:
    for views in ([OLD, view("n3", 1, allotted(), "other")], [view("n1", 1, allotted(), "sho")]):
        record, _ = rebuilt_networks({}, (), 0, views, intent=True).records["network.shop_net"]
        assert isinstance(record, NetworkRecord)
        assert record.stack == ""


def test_a_backup_is_right_about_what_is_not_newer_than_it() -> None:
    record = NetworkRecord(name="shop_net", labels={"a": "b"})
    removed = msgspec.structs.replace(record, removed=True)
    stored = ("alloc.shop_net", "endpoints.publish")
    assert not rebuilt_networks({"shop_net": record}, stored, 30, [OLD, NEW], intent=True).records
    assert not rebuilt_networks({"shop_net": removed}, (), 30, [OLD, NEW], intent=True).records
    newer = rebuilt_networks({"shop_net": record}, stored, 20, [OLD, NEW], intent=True)
    assert set(newer.records) == {"alloc.shop_net", "endpoints.publish"}, "its intent stays the backup's"


def test_what_was_allotted_since_the_backup_stays_allotted_even_if_intent_is_taken_from_it_alone() -> None:
    assert set(rebuilt_networks({}, (), 20, [NEW], intent=False).records) == {"alloc.shop_net", "endpoints.publish"}
