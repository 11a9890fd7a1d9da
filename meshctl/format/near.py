"""The nearest of the names there are, for a name that is not there."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(name: str, known: Collection[str], otherwise: str = "") -> str:
    """A hint: "did you mean 'web'?", else what there is if it is little, else `otherwise`."""
    near = get_close_matches(name, known, n=1, cutoff=0.6) or [item for item in known if item.endswith(f"_{name}")][:1]
    if near:
        return f"did you mean '{near[0]}'?"
    if 0 < len(known) <= 8:
        return f"there is: {', '.join(sorted(known))}"
    return otherwise
