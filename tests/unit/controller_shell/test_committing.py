"""A round's writes: which are left out."""

from __future__ import annotations

from bus.batches import VALUE_BYTES
from bus.commits import Delete, Put
from controller.committing import fitting


def test_a_record_that_no_store_would_take_is_left_out_and_named() -> None:
    large = Put("rollout.noise", b"x" * (VALUE_BYTES + 1))
    others = [Put("desired.n1", b"x" * VALUE_BYTES), Delete("rollout.gone")]
    writes, too_large = fitting([others[0], large, others[1]])
    assert writes == others
    assert too_large == {"rollout.noise": VALUE_BYTES + 1}
