"""What an agent may tell as it joins: nothing that would keep its node from being drained or removed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from bus.commits import Put
from schemas import subjects
from schemas.errors import Refused
from schemas.memberapi import InspectNode, Join, Joined, ListNodes, RemoveNode, UpdateNode
from schemas.records import NodeRecord
from schemas.replies import open_reply
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, PretendAgent, mesh_of, ready
from tests.unit.controller_shell.test_api import on_a_mesh

TOO_MANY = {f"k{number}": "v" for number in range(101)}
BAD: list[tuple[Mapping[str, str], str]] = [
    (TOO_MANY, "101 labels on one node, at most 100"),
    ({"zone": "x" * 500_000}, "the value of label zone is longer"),
    ({"a b": "x"}, "'a b' is no label's name"),
]


async def join(agent: PretendAgent, labels: Mapping[str, str], instance: str = "") -> Joined:
    request = Join(node=agent.node, instance=instance or agent.instance, labels=dict(labels))
    data = await agent.bus.core.request(subjects.agent_api(agent.node, "join"), encode(request), timeout=5)
    return open_reply(data, Joined)


@pytest.mark.parametrize(("labels", "says"), BAD)
def test_a_node_does_not_join_with_labels_that_none_may_have(labels: Mapping[str, str], says: str) -> None:
    async def scenario(mesh: Mesh) -> None:
        agent = mesh.agents["n1"]
        with pytest.raises(Refused, match=f"node n1 can't join with its labels: {says}") as refused:
            await join(agent, labels)
        assert "--label" in refused.value.hint
        await join(agent, {"zone": "eu"})
        assert (await mesh.ask("node.inspect", InspectNode(node="n1"))).labels == {"zone": "eu"}
        await mesh.ask("node.update", UpdateNode(node="n1", availability="drain"))
        await mesh.ask("node.remove", RemoveNode(node="n1", force=True))
        with pytest.raises(Refused, match=says):
            await join(agent, labels, instance="another")

    on_a_mesh(scenario)


def test_labels_that_were_given_to_the_node_count_too() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.ask("node.update", UpdateNode(node="n1", labels_add={f"k{number}": "" for number in range(60)}))
        with pytest.raises(Refused, match="120 labels on one node"):
            await join(mesh.agents["n1"], {f"l{number}": "" for number in range(60)})

    on_a_mesh(scenario)


def test_an_instance_id_has_an_end() -> None:
    async def scenario(mesh: Mesh) -> None:
        with pytest.raises(Refused, match="more than 128 characters"):
            await join(mesh.agents["n1"], {}, instance="i" * 129)

    on_a_mesh(scenario)


def test_a_node_that_has_such_labels_can_be_drained_rid_of_them_and_removed() -> None:
    """They were stored by a controller that did not look."""

    async def story() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            await label(mesh, "n1", TOO_MANY)
            await mesh.ask("node.update", UpdateNode(node="n1", availability="drain"))
            with pytest.raises(Refused, match="102 labels"):
                await mesh.ask("node.update", UpdateNode(node="n1", labels_add={"zone": "eu"}))
            await mesh.ask("node.update", UpdateNode(node="n1", labels_remove=("k1",)))
            await label(mesh, "n2", {"z": "x" * (1024 * 1024 - 120)})
            written = await mesh.ask("node.remove", RemoveNode(node="n2", force=True))
            listed = await mesh.ask("node.list", ListNodes(min_sequence=written.sequence))
            assert [view.node for view in listed.nodes] == ["n1"]

    run(story())


async def label(mesh: Mesh, node: str, labels: Mapping[str, str]) -> None:
    """Have these stored."""
    record = NodeRecord(name=node, instance=mesh.agents[node].instance, labels=dict(labels))
    await mesh.operator.state.commit([Put(subjects.node_key(node), encode(record))])
    await asyncio.sleep(1)
