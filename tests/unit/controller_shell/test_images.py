"""What nodes' answers about one image come to."""

from __future__ import annotations

import pytest

from controller.images import Answers, Pin, judge
from schemas.errors import ImageUnavailable, Refused
from schemas.nodeapi import ResolvedImage

OLD, NEW = "sha256:" + "a" * 64, "app@sha256:" + "b" * 64


def has(node: str, image_id: str = OLD) -> ResolvedImage:
    return ResolvedImage(node=node, image_id=image_id, present=True)


def could_pull(node: str, image_id: str = NEW) -> ResolvedImage:
    return ResolvedImage(node=node, image_id=image_id)


def lacks(node: str, why: str = "no such image") -> ResolvedImage:
    return ResolvedImage(node=node, error=why)


def test_nodes_that_agree_pin_the_image() -> None:
    assert judge("app:1", Answers([has("n1"), has("n2")])) == Pin(OLD)


def test_nodes_that_hold_different_images_under_one_tag_are_named() -> None:
    with pytest.raises(Refused, match="not the same on all nodes: n1 has sha256:aaaaaaaaaaaa, n2 has app@sha256:bbbb"):
        judge("app:1", Answers([has("n1"), has("n2", NEW)]))


def test_a_registry_counts_only_where_nobody_has_the_image() -> None:
    assert judge("app:1", Answers([could_pull("n1"), has("n2")])).image_id == OLD
    assert judge("app:1", Answers([could_pull("n1"), could_pull("n2")])).image_id == NEW


def test_who_can_not_get_it_is_warned_of_as_long_as_somebody_can() -> None:
    pin = judge("app:1", Answers([has("n1"), lacks("n2")]))
    assert pin == Pin(OLD, ("n2 can't get image app:1: no such image",))


def test_nobody_can_get_it_names_each_node_with_its_reason() -> None:
    with pytest.raises(ImageUnavailable, match="no node can get image app:1: n1: no such image; n2: no route"):
        judge("app:1", Answers([lacks("n1"), lacks("n2", "no route")]))


def test_the_same_reason_of_several_nodes_is_told_once() -> None:
    with pytest.raises(ImageUnavailable, match="no node can get image app:1: n1, n2: no such image; n3: no route"):
        judge("app:1", Answers([lacks("n1", "image app:1: no such image"), lacks("n2"), lacks("n3", "no route")]))


def test_without_an_answer_the_image_stays_unpinned_with_a_warning() -> None:
    assert judge("app:1", Answers()).warnings == ("image app:1 is not pinned: no ready node fits, so none was asked",)
    silent = Answers(silent={"n1": "no answer"})
    assert judge("app:1", silent) == Pin(warnings=("image app:1 is not pinned: no answer from n1 (no answer)",))
