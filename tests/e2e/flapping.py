"""Nodes that come and go, and what that has moved: by what the engines really made, and by what was told."""

from __future__ import annotations

import time

from tests.e2e.site import Found, Site


def flap_link(site: Site, node: str) -> None:
    """A second off, a second on."""
    site.lab.cut(node)
    time.sleep(1)
    site.lab.heal(node)
    time.sleep(1)


def flap_power(site: Site, node: str) -> None:
    """Without power for a second; then it boots, and is up for a second."""
    site.lab.kill(node)
    time.sleep(1)
    site.lab.start(node)
    time.sleep(1)


class Census:
    """The containers of a service that were ever seen on any engine, ended ones included."""

    def __init__(self, site: Site, service: str) -> None:
        self._site = site
        self._service = service
        self.first = {found.id for found in site.containers(service, every=True)}
        self.made: dict[str, Found] = {}
        """Those that were made since."""

    def look(self) -> None:
        """Look at all engines; often, for of those that have ended a node keeps only two a slot."""
        found = self._site.containers(self._service, every=True)
        self.made |= {each.id: each for each in found if each.id not in self.first}
