"""Making a lab: its folder first, then the switch, the servers and engines side by side, the mesh, its programs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from bus.accounts import OPERATOR, Users
from bus.credentials import write_credentials
from bus.users import Credentials
from lab import configs, folders, mesh
from lab.lab import Lab
from lab.paths import Tools
from lab.plan import LabPlan, Machine
from lab.rack import in_parallel

Say = Callable[[str], None]

ENGINE_PATIENCE = 60.0
"""Seconds in which an engine has to answer."""


def bring_up(plan: LabPlan, say: Say = lambda _line: None, *, keep_broken: bool = False) -> Lab:
    """Make the lab and wait until it is usable. On an error all of it is removed again, unless `keep_broken`.

    Raises:
        Conflict: there is one of that name.
        Refused: not root.
        NotFound: a program is missing.
        MeshError: a part did not start; the text has its last words.
    """
    tools = Tools.find()
    with folders.changing(plan.name):
        folders.write_plan(plan)
        lab = Lab(plan, tools)
        try:
            _bring_up(lab, say)
        except BaseException:
            if not keep_broken:
                folders.remove(plan.name)
            raise
    return lab


def _bring_up(lab: Lab, say: Say) -> None:
    began = time.monotonic()

    def told(line: str) -> None:
        say(f"{line} ({time.monotonic() - began:.1f} s)")

    plan = lab.plan
    ports = lab.rack.boot_switch()
    if plan.outlet:
        lab.rack.boot_outlet()
    users, route_word = _write_secrets(lab, ports)
    servers, nodes, controllers = plan.of("nats"), plan.of("node"), plan.of("controller")
    for machine in (*servers, *controllers, *nodes):
        _write_configs(lab, machine, users, route_word)
    in_parallel(lab.rack.boot, (*servers, *nodes, *controllers))
    told(f"{len(plan.machines)} machines on one switch")
    _start(lab, servers)
    in_parallel(lambda node: _start_engine(lab, node), nodes)
    if nodes:
        told(f"{len(nodes)} engines answer")
    if not servers:
        return
    mesh.create(lab.credentials(), plan.mesh_id, replicas=min(3, len(servers)))
    told(f"{len(servers)} nats-servers hold the mesh")
    _start(lab, (*controllers, *nodes))
    if controllers:
        leader = mesh.await_ready(lab.credentials(), lab.nodes)
        told(f"{leader} leads, {len(nodes)} nodes are ready")


def _write_secrets(lab: Lab, ports: tuple[int, ...]) -> tuple[Users, str]:
    plan = lab.plan
    passwords = {machine.name: secrets.token_urlsafe(18) for machine in (*plan.of("controller"), *plan.of("node"))}
    passwords[OPERATOR] = secrets.token_urlsafe(18)
    if ports:
        servers = tuple(f"nats://127.0.0.1:{port}" for port in ports)
        operator = Credentials(servers=servers, user=OPERATOR, password=passwords[OPERATOR])
        write_credentials(lab.credentials_file(), operator)
        for machine in (*plan.of("controller"), *plan.of("node")):
            credentials = configs.credentials_of(machine, plan, passwords[machine.name])
            write_credentials(lab.paths.credentials(machine.name), credentials)
    return configs.make_users(plan, passwords), secrets.token_urlsafe(18)


def _write_configs(lab: Lab, machine: Machine, users: Users, route_word: str) -> None:
    etc = lab.paths.etc(machine.name)
    etc.mkdir(parents=True, exist_ok=True)
    if machine.kind == "node":
        (etc / "daemon.json").write_text(configs.engine_config(outlet=lab.plan.outlet))
        (etc / "containerd.toml").write_text(configs.CONTAINERD)
    elif machine.kind == "nats":
        file = etc / "nats.conf"
        file.touch(mode=0o600)
        file.write_text(configs.nats_config(machine, lab.plan, lab.paths, users, route_word))


def _start(lab: Lab, machines: tuple[Machine, ...]) -> None:
    for machine in machines:
        for service in lab.rack.services(machine):
            lab.rack.host(machine.name).start(service)


def _start_engine(lab: Lab, machine: Machine) -> None:
    for service in lab.rack.services(machine, "engine"):
        lab.rack.host(machine.name).start(service)
    lab.engine(machine.name).wait(ENGINE_PATIENCE)
