"""The port to a container engine: what an agent may ask of it, and what it is told.

Two adapters: `agent.engine.docker` (real) and `agent.engine.memory` (simulation). Every method raises
`EngineUnavailable` when the engine does not answer within the call's time limit (whether it was done is then
unknown: look again), `NotFound` when the named container or volume is not there, `Conflict` when it is in use or its
name is taken, `ImageUnavailable` for a missing image, else `EngineError`: all `MeshError`s with one readable line.
An adapter changes only containers that carry the labels of an `Owner` which it has been asked about or has created
for: any other one is `Refused`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from agent.engine.labels import Owner
from agent.engine.model import (
    Container,
    EngineEvent,
    EngineInfo,
    EngineNetwork,
    EventGap,
    ImageInfo,
    PullProgress,
    Setup,
    Volume,
)
from agent.engine.plans import ContainerPlan, Join, LogQuery, NetworkPlan, VolumePlan
from schemas.nodeapi import LogPage
from schemas.observation import BoundPort
from schemas.spec import ReadyCheck


class Engine(Protocol):
    """One container engine. All methods may be called at the same time; adapters bound what really runs at once."""

    async def info(self) -> EngineInfo:
        """Facts and free space."""
        ...

    async def containers(self, owner: Owner) -> tuple[Container, ...]:
        """All of that owner's, ended ones too, sorted by name."""
        ...

    async def inspect(self, container: str) -> Container:
        """One by id or name. Raises NotFound."""
        ...

    async def setup(self, container: str) -> Setup:
        """How one is set up now. Raises NotFound."""
        ...

    async def changed_files(self, container: str) -> tuple[str, ...]:
        """What differs from its image, as "A /path" (added), "C ..." (changed), "D ..." (deleted), sorted by path.

        Walks its file system. Raises NotFound.
        """
        ...

    async def create(self, plan: ContainerPlan) -> str:
        """Make its volumes and then the container; its id. One of that name which has its labels is it already.

        Raises:
            ImageUnavailable: the image is not there. Conflict: the name is taken.
            EngineError: a bind path or external volume is missing, disk full, a field that the engine refuses.
        """
        ...

    async def start(self, container: str) -> None:
        """Start it; does nothing while it runs. Raises EngineError: port taken, command not in the image, ..."""
        ...

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        """Ask it to end ("": its own stop signal), kill it after `grace` seconds, return once it has ended."""
        ...

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """Send a signal; does nothing when it has ended."""
        ...

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Forget it with its anonymous volumes; does nothing when it is gone. `force`: even if it runs."""
        ...

    async def logs(self, container: str, query: LogQuery) -> LogPage:
        """One page, oldest line first."""
        ...

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent | EventGap]:
        """For ever; reconnects by itself and tells it with an `EventGap`. Close it with `aclosing`."""
        ...

    async def image(self, reference: str) -> ImageInfo | None:
        """The image with that tag, registry digest or id; None: it is not here. Never asks a registry."""
        ...

    async def images(self) -> tuple[ImageInfo, ...]:
        """All that is here."""
        ...

    async def digest(self, reference: str) -> str:
        """What its registry means by it now, "name@sha256:...", without getting it. Raises ImageUnavailable."""
        ...

    async def pull(
        self,
        reference: str,
        platform: str = "",
        progress: Callable[[PullProgress], None] | None = None,
        *,
        tag: str = "",
    ) -> ImageInfo:
        """Get it from its registry, and call it `tag`, too. Raises ImageUnavailable with the reason."""
        ...

    async def load(self, chunks: AsyncIterator[bytes]) -> tuple[str, ...]:
        """Load a docker-save archive in bounded memory: the references (or ids) it held."""
        ...

    def save(self, reference: str) -> AsyncIterator[bytes]:
        """The docker-save archive of an image, in bounded memory. Close it with `aclosing`."""
        ...

    async def remove_image(self, reference: str) -> None:
        """Remove it with its tags; does nothing when it is gone. Raises Conflict while a container needs it."""
        ...

    async def volumes(self) -> tuple[Volume, ...]:
        """All named volumes, sorted by name."""
        ...

    async def create_volume(self, plan: VolumePlan) -> None:
        """Make it; does nothing when it is there. Raises EngineError for an external one that is not."""
        ...

    async def remove_volume(self, name: str) -> None:
        """Remove it. Raises NotFound, or Conflict while a container uses it."""
        ...

    async def networks(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        """That owner's, sorted by name."""
        ...

    async def create_network(self, plan: NetworkPlan) -> None:
        """Make it; does nothing when it is there. Raises Conflict when somebody else's has the name."""
        ...

    async def remove_network(self, name: str, owner: Owner) -> None:
        """Remove that owner's; does nothing when it is gone. Raises Conflict while a container runs on it."""
        ...

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        """Put a container that does not run yet on these networks, too. Raises NotFound."""
        ...

    async def probe(self, container: Container, check: ReadyCheck) -> str:
        """ "" if the running container answers as the check wants, else why not, in a few words."""
        ...

    async def other_ports(self, owner: Owner) -> tuple[BoundPort, ...]:
        """Host ports bound by running containers that are not that owner's."""
        ...

    async def path_exists(self, path: str) -> bool:
        """Whether a path of the engine's machine is there (for bind mounts)."""
        ...

    async def close(self) -> None:
        """End threads and connections; containers run on."""
        ...
