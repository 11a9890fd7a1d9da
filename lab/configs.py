"""The configuration files of a lab's machines, as text. Pure."""

from __future__ import annotations

import json

from bus.accounts import OPERATOR, Server, Users, Value, render_config
from bus.users import Credentials, agent_user, controller_user
from lab.paths import LabPaths
from lab.plan import NATS_PORT, NETWORK, LabPlan, Machine, server_urls

CLUSTER_PORT = 6222

CONTAINERD = """\
version = 2
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
"""


def engine_config(*, outlet: bool) -> str:
    """dockerd's. Without a way out the containers' look-ups are refused at once, too.

    A registry on the lab's own network, which nobody else can reach, may speak plain HTTP.
    """
    refused = {} if outlet else {"dns": ["127.0.0.1"], "dns-opts": ["timeout:1", "attempts:1"]}
    return json.dumps({"insecure-registries": [NETWORK], **refused})


def nats_config(machine: Machine, plan: LabPlan, paths: LabPaths, users: Users, word: str) -> str:
    """A nats-server's; `word`: the password of the cluster's routes."""
    servers = plan.of("nats")
    cluster: dict[str, Value] = {
        "name": plan.name,
        "listen": f"{machine.address}:{CLUSTER_PORT}",
        "no_advertise": True,  # the operator comes through the relay and could not reach these addresses
        "authorization": {"user": "route", "password": word},
        "routes": [f"nats://route:{word}@{other.address}:{CLUSTER_PORT}" for other in servers],
    }
    settings: dict[str, Value] = {"cluster": cluster} if len(servers) > 1 else {}
    server = Server(
        name=machine.name,
        listen=f"{machine.address}:{NATS_PORT}",
        store_dir=str(paths.data(machine.name)),
        extra=settings,
    )
    return render_config(server, users)


def make_users(plan: LabPlan, passwords: dict[str, str]) -> Users:
    """Who may connect to the lab's servers."""
    return Users(
        operator=passwords[OPERATOR],
        controllers={machine.name: passwords[machine.name] for machine in plan.of("controller")},
        agents={machine.name: passwords[machine.name] for machine in plan.of("node")},
    )


def credentials_of(machine: Machine, plan: LabPlan, password: str) -> Credentials:
    """A node's or controller's."""
    user = agent_user(machine.name) if machine.kind == "node" else controller_user(machine.name)
    return Credentials(servers=server_urls(plan), user=user, password=password)
