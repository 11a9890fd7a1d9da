"""`healthcheck` of a service."""

from __future__ import annotations

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.scalars import duration, text, texts, truth, whole
from schemas.spec import HealthCheck

_NONE = HealthCheck(test=("NONE",))


def read_health(at: At | None) -> HealthCheck | None:
    """The check. Without a `test` the image's own is run with these times (an empty test, as the engine has it)."""
    if at is None:
        return None
    test = _test(at.get("test"))
    if truth(at.get("disable")) or test == ("NONE",):
        return _NONE
    default = HealthCheck(test=())
    return HealthCheck(
        test=test,
        interval=duration(at.get("interval"), 0.0) or default.interval,
        timeout=duration(at.get("timeout"), 0.0) or default.timeout,
        retries=whole(at.get("retries"), 0, most=1_000_000) or default.retries,
        start_period=duration(at.get("start_period"), 0.0),
        start_interval=duration(at.get("start_interval"), 0.0),
    )


def _test(at: At | None) -> tuple[str, ...]:
    if at is None:
        return ()
    if not at.is_list:
        line = text(at)
        return ("CMD-SHELL", line) if line else ()
    test = texts(at)
    if not test:
        return ()
    if test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        what = f"the list begins with {quote(test[0])}"
        at.refuse(what, remedy("services.*.healthcheck.test=(another first word)"))
    elif (test[0] != "NONE" and len(test) < 2) or (test[0] == "CMD-SHELL" and len(test) > 2):
        at.refuse(f"{test[0]} with {len(test) - 1} words after it", "give CMD a command, CMD-SHELL one text")
    return test[:1] if test[0] == "NONE" else test
