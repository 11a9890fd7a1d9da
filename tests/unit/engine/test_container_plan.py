"""A task's spec becomes the engine's create call: one row for each field."""

from __future__ import annotations

from typing import Any

import pytest

from agent.engine.container import TaskContext, named_volumes, plan_container
from agent.engine.labels import Owner
from agent.engine.plans import VolumePlan
from schemas.ports import Port
from schemas.spec import (
    ContainerSpec,
    Device,
    HealthCheck,
    LogDriver,
    Mount,
    Resources,
    TaskSpec,
    Ulimit,
)

CONTEXT = TaskContext(
    owner=Owner("m1", "n1"),
    task="1-a",
    service="shop_web",
    slot="2",
    revision=7,
    spec_hash="abcd",
    stack="shop",
    hostname="alpha",
    os="linux",
    architecture="x86_64",
)


def body_of(**fields: Any) -> dict[str, Any]:
    spec = TaskSpec(container=ContainerSpec(image="web:1", **fields))
    return dict(plan_container(spec, CONTEXT, "sha256:1").body)


def at(body: dict[str, Any], path: str) -> Any:
    value: Any = body
    for key in path.split("."):
        value = value[key]
    return value


ABSENT = object()

ROWS: list[tuple[dict[str, Any], str, Any]] = [
    ({}, "Image", "sha256:1"),
    ({}, "HostConfig.RestartPolicy", {"Name": "no"}),
    ({}, "HostConfig.LogConfig", {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}),
    ({}, "HostConfig.NetworkMode", "default"),
    ({}, "StopTimeout", 10),
    ({"stop_grace": 1.2}, "StopTimeout", 2),
    ({"stop_signal": "SIGQUIT"}, "StopSignal", "SIGQUIT"),
    ({"command": ("a", "b")}, "Cmd", ["a", "b"]),
    ({"command": ()}, "Cmd", []),
    ({"entrypoint": ("/in",)}, "Entrypoint", ["/in"]),
    ({"entrypoint": ()}, "Entrypoint", [""]),
    ({"environment": {"A": "1", "B": "{{.Task.Slot}}"}}, "Env", ["A=1", "B=2"]),
    ({"environment": {"A": "{{.Service.Name}}@{{.Node.Hostname}}"}}, "Env", ["A=shop_web@alpha"]),
    ({"environment": {"A": "{{.Task.Name}} {{.Task.ID}} {{.Node.ID}}"}}, "Env", ["A=shop_web.2.1-a 1-a n1"]),
    ({"environment": {"A": "{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}"}}, "Env", ["A=linux/x86_64"]),
    ({"hostname": "web-{{.Task.Slot}}"}, "Hostname", "web-2"),
    ({"user": "1000:1000"}, "User", "1000:1000"),
    ({"working_dir": "/srv"}, "WorkingDir", "/srv"),
    ({"tty": True, "stdin_open": True}, "Tty", True),
    ({"tty": True, "stdin_open": True}, "OpenStdin", True),
    ({"init": True}, "HostConfig.Init", True),
    ({"init": False}, "HostConfig.Init", False),
    (
        {"healthcheck": HealthCheck(test=("CMD", "x"), interval=1.5, timeout=2, retries=4, start_period=3)},
        "Healthcheck",
        {"Test": ["CMD", "x"], "Interval": 1_500_000_000, "Timeout": 2_000_000_000, "Retries": 4,
         "StartPeriod": 3_000_000_000},
    ),
    ({"healthcheck": HealthCheck(test=("CMD", "x"), interval=0.0001)}, "Healthcheck.Interval", 1_000_000),
    ({"healthcheck": HealthCheck(test=("CMD", "x"), start_interval=0.5)}, "Healthcheck.StartInterval", 500_000_000),
    ({"healthcheck": HealthCheck(test=("NONE",))}, "Healthcheck", {"Test": ["NONE"]}),
    ({"ports": (Port(target=80, published=8080),)}, "ExposedPorts", {"80/tcp": {}}),
    ({"ports": (Port(target=80, published=8080),)}, "HostConfig.PortBindings",
     {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
    ({"ports": (Port(target=53, protocol="udp", host_ip="127.0.0.1"),)}, "HostConfig.PortBindings",
     {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
    ({"ports": (Port(target=80, published=1), Port(target=80, published=2))}, "HostConfig.PortBindings",
     {"80/tcp": [{"HostIp": "", "HostPort": "1"}, {"HostIp": "", "HostPort": "2"}]}),
    ({"ports": (Port(target=80, published=8000, published_last=8010),)}, "HostConfig.PortBindings",
     {"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}),
    ({"ports": (Port(target=80, published=80, mode="ingress"),)}, "HostConfig.PortBindings", {}),
    ({"mounts": (Mount(kind="volume", source="d-{{.Task.Slot}}", target="/d"),)}, "HostConfig.Mounts",
     [{"Type": "volume", "Target": "/d", "ReadOnly": False, "Source": "d-2"}]),
    ({"mounts": (Mount(kind="volume", target="/d"),)}, "HostConfig.Mounts",
     [{"Type": "volume", "Target": "/d", "ReadOnly": False}]),
    ({"mounts": (Mount(kind="volume", source="d", target="/d", no_copy=True, driver="nfs", driver_opts={"a": "b"},
                       labels={"l": "1"}),)}, "HostConfig.Mounts",
     [{"Type": "volume", "Target": "/d", "ReadOnly": False, "Source": "d",
       "VolumeOptions": {"NoCopy": True, "Labels": {"l": "1"},
                         "DriverConfig": {"Name": "nfs", "Options": {"a": "b"}}}}]),
    ({"mounts": (Mount(kind="bind", source="/h", target="/d", read_only=True, propagation="rslave"),)},
     "HostConfig.Mounts",
     [{"Type": "bind", "Target": "/d", "ReadOnly": True, "Source": "/h", "BindOptions": {"Propagation": "rslave"}}]),
    ({"mounts": (Mount(kind="bind", source="/h", target="/d", read_only=True, create_host_path=True),)},
     "HostConfig.Binds", ["/h:/d:ro"]),
    ({"mounts": (Mount(kind="bind", source="/h", target="/d", create_host_path=True),)}, "HostConfig.Mounts", []),
    ({"mounts": (Mount(kind="tmpfs", target="/t", size=1024, mode=0o700),)}, "HostConfig.Mounts",
     [{"Type": "tmpfs", "Target": "/t", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o700}}]),
    ({"ulimits": (Ulimit(name="nofile", soft=1, hard=2),)}, "HostConfig.Ulimits",
     [{"Name": "nofile", "Soft": 1, "Hard": 2}]),
    ({"cap_add": ("NET_ADMIN",)}, "HostConfig.CapAdd", ["NET_ADMIN"]),
    ({"cap_drop": ("ALL",)}, "HostConfig.CapDrop", ["ALL"]),
    ({"sysctls": {"net.core.somaxconn": "9"}}, "HostConfig.Sysctls", {"net.core.somaxconn": "9"}),
    ({"read_only": True}, "HostConfig.ReadonlyRootfs", True),
    ({"privileged": True}, "HostConfig.Privileged", True),
    ({"security_opt": ("no-new-privileges",)}, "HostConfig.SecurityOpt", ["no-new-privileges"]),
    ({"devices": (Device(source="/dev/null", target="/dev/x", permissions="r"),)}, "HostConfig.Devices",
     [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]),
    ({"devices": (Device(source="/dev/null", target=""),)}, "HostConfig.Devices",
     [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"}]),
    ({"shm_size": 64}, "HostConfig.ShmSize", 64),
    ({"pid": "host"}, "HostConfig.PidMode", "host"),
    ({"ipc": "shareable"}, "HostConfig.IpcMode", "shareable"),
    ({"group_add": ("27",)}, "HostConfig.GroupAdd", ["27"]),
    ({"oom_score_adj": -5}, "HostConfig.OomScoreAdj", -5),
    ({"dns": ("10.0.0.1",)}, "HostConfig.Dns", ["10.0.0.1"]),
    ({"dns_search": ("a.b",)}, "HostConfig.DnsSearch", ["a.b"]),
    ({"dns_options": ("timeout:2",)}, "HostConfig.DnsOptions", ["timeout:2"]),
    ({"extra_hosts": ("db:10.0.0.2",)}, "HostConfig.ExtraHosts", ["db:10.0.0.2"]),
    ({"network_mode": "host"}, "HostConfig.NetworkMode", "host"),
    ({"logging": LogDriver(options={"max-size": "1m"})}, "HostConfig.LogConfig",
     {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}),
    ({"logging": LogDriver(driver="syslog", options={"tag": "x"})}, "HostConfig.LogConfig",
     {"Type": "syslog", "Config": {"tag": "x"}}),
    ({"logging": LogDriver(driver="none")}, "HostConfig.LogConfig", {"Type": "none", "Config": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "wanted"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_field_of_the_spec_reaches_the_engine(fields: dict[str, Any], path: str, wanted: Any) -> None:
    assert at(body_of(**fields), path) == wanted


@pytest.mark.parametrize(
    "path",
    ["Cmd", "Entrypoint", "Hostname", "User", "WorkingDir", "StopSignal", "Healthcheck", "HostConfig.Init",
     "HostConfig.CapAdd", "HostConfig.ShmSize", "HostConfig.Memory", "HostConfig.NanoCpus"],
)  # fmt: skip
def test_what_the_spec_does_not_say_is_left_to_image_and_engine(path: str) -> None:
    with pytest.raises(KeyError):
        at(body_of(), path)


def test_limits_and_reservations_are_told_in_the_engines_units() -> None:
    spec = TaskSpec(
        container=ContainerSpec(image="web:1"),
        limits=Resources(cpus=0.5, memory=64 << 20, pids=10),
        reservations=Resources(cpus=0.25, memory=32 << 20),
    )
    host = plan_container(spec, CONTEXT, "sha256:1").body["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 64 << 20, 10)
    assert host["MemoryReservation"] == 32 << 20


def test_the_meshs_labels_win_over_the_users() -> None:
    spec = TaskSpec(container=ContainerSpec(image="web:1", labels={"tier": "front", "mesh.task": "forged"}))
    plan = plan_container(spec, CONTEXT, "sha256:1")
    assert plan.labels == plan.body["Labels"]
    assert plan.labels == {
        "tier": "front",
        "mesh.id": "m1",
        "mesh.node": "n1",
        "mesh.task": "1-a",
        "mesh.service": "shop_web",
        "mesh.slot": "2",
        "mesh.revision": "7",
        "mesh.spec": "abcd",
        "mesh.stack": "shop",
    }
    assert plan.name == "shop_web.2.1-a"


def test_named_volumes_are_planned_before_the_container() -> None:
    container = ContainerSpec(
        image="web:1",
        mounts=(
            Mount(kind="volume", source="d{{.Task.Slot}}", target="/a", driver_opts={"device": "/x/{{.Task.Slot}}"}),
            Mount(kind="volume", source="theirs", target="/b", external=True),
            Mount(kind="volume", target="/c"),
            Mount(kind="bind", source="/e/{{.Node.Hostname}}", target="/e"),
            Mount(kind="bind", source="/f", target="/f", create_host_path=True),
        ),
    )
    plan = plan_container(TaskSpec(container=container), CONTEXT, "sha256:1")
    volumes = (VolumePlan("d2", driver_opts={"device": "/x/2"}), VolumePlan("theirs", external=True))
    assert plan.volumes == volumes
    assert named_volumes(container, CONTEXT) == volumes
    assert plan.binds == ("/e/alpha",)
    assert plan.image == "sha256:1"
