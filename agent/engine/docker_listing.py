"""A full list of containers: each one is looked at whose entry has changed since the last time.

The list call decides whether the engine answers. A container that can't be looked at (its start hangs in a mount, or
its shim is stuck) costs no other one its place: it is told by its list entry (`Container.listed_only`), and is not
asked about again for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agent.engine.docker_views import Json, listed_key, listed_view
from agent.engine.model import Container
from schemas.clock import Clock
from schemas.errors import EngineUnavailable, MeshError, NotFound

LOOK = 10.0
"""Seconds for one look."""
LOOKS_AT_ONCE = 6
"""The other threads are for whoever else asks the engine something."""
ALL_LOOKS = 20.0
"""Seconds for all looks of a list together."""

AGAIN = 60.0
"""Seconds for which a list does not look again at a container that the engine did not tell about. Others may."""
STUCK_AT_ONCE = 2
"""Looks at such containers at the same time: each holds a thread."""


@dataclass(frozen=True)
class _Stuck:
    name: str
    until: float


class Known:
    """What is known of containers from earlier looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, tuple[str, str, int]] = {}
        """The list entry's key for which the last view still holds."""
        self._views: dict[str, Container] = {}
        self._stuck: dict[str, _Stuck] = {}
        self._looks = 0

    def forget(self, container: str) -> None:
        """It is gone."""
        self.changed(container)
        self._views.pop(container, None)

    def changed(self, container: str) -> None:
        """Something has happened to it, so the engine may tell of it."""
        self._keys.pop(container, None)
        self._stuck.pop(container, None)

    def seen(self, view: Container) -> None:
        """The engine has told this."""
        self.changed(view.id)
        self._views[view.id] = view

    def holds(self, entry: Json, view: Container) -> None:
        """This view is right for as long as the list entry stays as it is."""
        key = listed_key(entry)
        if view.state == key[0]:
            self._keys[view.id] = key

    def view(self, entry: Json) -> Container | None:
        """The view, if it still holds."""
        id_ = str(entry["Id"])
        return self._views[id_] if self._keys.get(id_) == listed_key(entry) else None

    def without_a_look(self, entry: Json) -> Container:
        """What can be told of it all the same."""
        return listed_view(entry, self._views.get(str(entry["Id"])))

    def stuck(self, view: Container) -> None:
        """The engine did not tell of it in time."""
        self._stuck[view.id] = _Stuck(view.name, self._clock.monotonic() + AGAIN)

    def left_alone(self, container: str) -> bool:
        """Whether a list does not look at it now."""
        stuck = self._stuck.get(container)
        return stuck is not None and self._clock.monotonic() < stuck.until

    @contextmanager
    def look(self, container: str) -> Iterator[None]:
        """Around each look at one, by id or name. Raises EngineUnavailable if too many hang already."""
        if not any(container in (id_, one.name) for id_, one in self._stuck.items()):
            yield
            return
        if self._looks >= STUCK_AT_ONCE:
            raise EngineUnavailable(f"the container engine did not tell of {container} lately; others are asked first")
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1


class Listing:
    """One list being made up. `look`: asks the engine of one."""

    def __init__(self, known: Known, look: Callable[[str], Awaitable[Container]]) -> None:
        self._known = known
        self._look = look
        self._slots = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._answered = False
        self._all_were_asked = True
        self._failures: list[MeshError] = []

    async def views(self, entries: Sequence[Json]) -> tuple[Container, ...]:
        """A view of each that is still there, sorted by name.

        Raises EngineUnavailable if there are several, and the engine has told of none.
        """
        async with asyncio.TaskGroup() as group:
            views = [group.create_task(self._view(entry)) for entry in entries]
        if len(self._failures) > 1 and not self._answered:
            if self._all_were_asked:
                self._ask_again_soon(entries)
            raise self._failures[0]
        return tuple(sorted((one for view in views if (one := view.result())), key=lambda one: one.name))

    async def _view(self, entry: Json) -> Container | None:
        if (view := self._known.view(entry)) is not None:
            self._answered = True
            return view
        if self._known.left_alone(str(entry["Id"])):
            return self._told_by_the_list(entry, EngineUnavailable("the container engine tells of no container"))
        try:
            async with asyncio.timeout(ALL_LOOKS):
                return await self._looked(entry)
        except TimeoutError:
            self._all_were_asked = False
            return self._told_by_the_list(
                entry, EngineUnavailable("the container engine is slow to tell of containers")
            )

    async def _looked(self, entry: Json) -> Container | None:
        id_ = str(entry["Id"])
        async with self._slots:
            try:
                view = await self._look(id_)
            except NotFound:
                self._answered = True
                return None
            except MeshError as error:
                told = self._told_by_the_list(entry, error)
                self._known.stuck(told)
                return told
        self._answered = True
        self._known.holds(entry, view)
        return view

    def _told_by_the_list(self, entry: Json, why: MeshError) -> Container:
        self._failures.append(why)
        return self._known.without_a_look(entry)

    def _ask_again_soon(self, entries: Iterable[Json]) -> None:
        """The engine is at fault, no single container."""
        for entry in entries:
            self._known.changed(str(entry["Id"]))
