"""The walk that holds every key of a document against the list: unknown and refused are told, idle ones warned of."""

from __future__ import annotations

import difflib

from meshctl.compose.cursor import At
from meshctl.compose.keys import KEYS, Outcome, children, row
from meshctl.compose.problems import quote
from meshctl.compose.tree import is_extension, is_null, kind_of

_SHORT_FORMS = {
    f"services.*.{key}"
    for key in ("extends", "env_file[]", "ports[]", "volumes[]", "devices[]", "ulimits.*", "x-mesh.on_disconnect")
}
"""Places where something shorter than a mapping is right, too; their readers judge it."""


def check_keys(at: At, pattern: str) -> None:
    """Tell what the list says of each key in `at`; `pattern` is its path in the list ("" for the document)."""
    names = children(pattern)
    if names == ("[]",):
        if at.is_list:
            for item in at.elements():
                check_keys(item, f"{pattern}[]")
        return
    if not names:
        return
    if not at.is_mapping:
        if names != ("*",) and pattern not in _SHORT_FORMS and not is_null(at.node):
            at.refuse(
                f"{kind_of(at.node)} where a mapping belongs", f"write keys like `{_first_usable(pattern)}:` under it"
            )
        return
    for key, value in at.entries():
        if names == ("*",):
            check_keys(value, f"{pattern}.*")
        elif key not in names:
            _unlisted(value, key, pattern)
        else:
            _listed(value, key, f"{pattern}.{key}" if pattern else key)


def _first_usable(pattern: str) -> str:
    names = (name for name in children(pattern) if (found := row(_join(pattern, name))) and _usable(found.outcome))
    return next(names, "name")


def _unlisted(at: At, key: str, pattern: str) -> None:
    if is_extension(key):
        return
    siblings = [name for name in children(pattern) if (found := row(_join(pattern, name))) and _usable(found.outcome)]
    near = difflib.get_close_matches(key.lower().replace("-", "_"), siblings, n=1, cutoff=0.6)
    elsewhere = [other.path for other in KEYS if other.path.endswith(f".{key}") and _usable(other.outcome)]
    if near:
        remedy = f"did you mean `{near[0]}`?"
    elif elsewhere:
        remedy = f"it belongs there: `{elsewhere[0].replace('services.*', '<service>')}`"
    else:
        remedy = "remove it, or begin it with `x-` if it is a note of yours"
    at.refuse(f"the key {quote(key)} is not known here", remedy)


def _listed(at: At, key: str, path: str) -> None:
    found = row(path)
    if found is None or found.outcome is Outcome.HONOURED:
        check_keys(at, path)
    elif found.outcome is Outcome.REFUSED:
        at.refuse(f"`{key}` is not supported", found.note)
    else:
        at.warn(f"`{key}` has no effect here", found.note)


def _usable(outcome: Outcome) -> bool:
    return outcome is not Outcome.REFUSED


def _join(pattern: str, name: str) -> str:
    return f"{pattern}.{name}" if pattern else name
