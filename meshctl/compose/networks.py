"""`networks`: those that the file declares, and which of them a service is on.

A service without `networks` is on `<stack>_default` if the file names any network or publishes any port on every node;
a file that does neither needs no networks and gets none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.scalars import pairs, text, truth
from schemas.network import Attachment, EndpointMode, NetworkRecord
from schemas.spec import ServiceSpec
from schemas.subjects import is_token, suggest_token

DEFAULT = "default"
_TRUE = ("", "true", "1", "yes")


@dataclass(frozen=True, slots=True)
class Network:
    """A declared network. `record` None: somebody else makes it."""

    name: str
    """In the mesh."""
    record: NetworkRecord | None = None


def read_networks(document: At, stack: str) -> dict[str, Network]:
    """The top-level `networks` by their names in the file, and the default one if it is needed."""
    top = document.get("networks")
    found = {name: _network(name, at, stack) for name, at in top.entries()} if top else {}
    name = f"{stack}_{DEFAULT}"
    if DEFAULT not in found and all(each.name != name for each in found.values()) and (found or _publishes(document)):
        found[DEFAULT] = Network(name, NetworkRecord(name=name, stack=stack))
    return found


def read_attachments(service: At, networks: Mapping[str, Network]) -> tuple[Attachment, ...]:
    """The networks that the service is on, the first one first."""
    at = service.get("networks")
    if service.get("network_mode") is not None:
        if at is not None:
            at.refuse("`networks` and `network_mode` exclude each other", "remove one of the two")
        return ()
    named = _named(at) if at is not None else [(DEFAULT, service, None)] if DEFAULT in networks else []
    found: dict[str, Attachment] = {}
    for name, place, options in named:
        network = networks.get(name)
        if network is None:
            place.refuse(f"there is no network {quote(name)}", f"add `{name}:` under the top-level `networks:`")
        elif network.name in found:
            place.refuse(f"the service is on network {quote(name)} already", "keep one of them")
        else:
            found[network.name] = Attachment(network=network.name, aliases=_aliases(options))
    return tuple(found.values())


def read_endpoint_mode(deploy: At | None) -> EndpointMode:
    """`deploy.endpoint_mode`."""
    at = deploy.get("endpoint_mode") if deploy else None
    mode = text(at, "vip")
    if at is not None and mode not in ("vip", "dnsrr"):
        at.refuse(f"{quote(mode)} is not known", "use vip or dnsrr")
    return "dnsrr" if mode == "dnsrr" else "vip"


def made_for(networks: Mapping[str, Network], services: Iterable[ServiceSpec]) -> tuple[NetworkRecord, ...]:
    """The networks that the stack makes: those that one of its services is on."""
    used = {each.network for spec in services for each in spec.task.container.networks}
    records = (each.record for each in networks.values() if each.record is not None and each.name in used)
    return tuple(sorted(records, key=lambda record: record.name))


def _publishes(document: At) -> bool:
    """Whether any service publishes a port on every node."""
    services = document.get("services")
    for _, service in services.entries() if services is not None and services.is_mapping else ():
        ports = service.get("ports") if service.is_mapping else None
        for port in ports.elements() if ports is not None and ports.is_list else ():
            if not port.is_mapping or text(port.get("mode"), "ingress") == "ingress":
                return True
    return False


def _network(name: str, at: At, stack: str) -> Network:
    external = at.get("external")
    given = at.get("name")
    if external is not None and (external.is_mapping or truth(external)):
        alias = text(external.get("name")) if external.is_mapping else ""
        for key in ("driver", "driver_opts", "internal", "attachable", "labels", "ipam"):
            if (extra := at.get(key)) is not None:
                extra.refuse("the network is external", remedy("networks.*.driver_opts (of an external network)"))
        return Network(_checked(given or at, text(given) or alias or name))
    full = _checked(given or at, text(given) or f"{stack}_{name}")
    driver = at.get("driver")
    if driver is not None and text(driver) not in ("overlay", "bridge"):
        driver.refuse(f"the driver {quote(text(driver))} is not there", remedy("networks.*.driver=(another)"))
    record = NetworkRecord(
        name=full,
        stack=stack,
        subnet=_subnet(at.get("ipam")),
        internal=truth(at.get("internal")),
        attachable=truth(at.get("attachable")),
        labels=pairs(at.get("labels")),
    )
    _refuse_options(at.get("driver_opts"))
    return Network(full, record)


def _checked(at: At, name: str) -> str:
    if is_token(name):
        return name
    better = suggest_token(name) or "network"
    at.refuse(f"{quote(name)} can't be a network's name", f"write `name: {better}`")
    return better


def _refuse_options(at: At | None) -> None:
    for name, value in pairs(at).items():
        assert at is not None, "pairs of nothing are none"
        if name == "encrypted" and value.lower() in _TRUE:
            at.refuse("encrypted networks are not there yet", remedy("networks.*.driver_opts=encrypted"))
        elif name != "encrypted":
            at.refuse(f"there is no driver option {quote(name)}", "remove it")


def _subnet(at: At | None) -> str:
    config = at.get("config") if at else None
    subnets = [text(each.get("subnet")) for each in config.elements()] if config else []
    if config is not None and len(subnets) > 1:
        config.refuse("a network has one subnet", "keep one of them")
    return subnets[0] if subnets else ""


def _named(at: At) -> list[tuple[str, At, At | None]]:
    if at.is_mapping:
        return [(name, each, each if each.is_mapping else None) for name, each in at.entries()]
    return [(text(each), each, None) for each in at.elements()]


def _aliases(at: At | None) -> tuple[str, ...]:
    names = at.get("aliases") if at else None
    found: list[str] = []
    for each in names.elements() if names else ():
        alias = text(each)
        if len(alias) > 253 or not all(is_token(word) for word in alias.lower().split(".")):
            each.refuse(f"{quote(alias)} can't be a name", "use a-z, 0-9, `-` and `_`")
        found.append(alias)
    return tuple(dict.fromkeys(found))
