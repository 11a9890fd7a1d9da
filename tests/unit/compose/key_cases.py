"""A case for every row of the list of keys: what is written, and what must come of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshctl.compose.load import LoadedStack, load_stack
from meshctl.compose.sources import ComposeSource
from schemas.api import ServiceDeploy
from schemas.network import Attachment
from schemas.spec import (
    Constraint,
    Dependency,
    Device,
    HealthCheck,
    LogDriver,
    Mount,
    Placement,
    Port,
    PreStart,
    ReadyCheck,
    Ulimit,
)

S = "services.*."
HOME = {"HOME": "/home/ann", "FROM_SHELL": "shell"}


class Shelf:
    """Files for the reader, without a disk."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self._files = files or {}

    def read(self, path: str) -> str | None:
        return self._files.get(path)


FILES = {"/project/a.env": "A=file\nB='$X' # note\n", "/project/raw.env": 'A="quoted"\n'}


def load(text: str, *more: str, files: dict[str, str] | None = None, **options: Any) -> LoadedStack:
    """The stack of one or several texts, as if they stood in /project."""
    names = ["stack.yaml", *(f"more{number}.yaml" for number in range(1, len(more) + 1))]
    sources = [ComposeSource(name, body, "/project") for name, body in zip(names, (text, *more), strict=True)]
    options = {"stack": "demo", "environment": HOME, "project_dir": "/project"} | options
    return load_stack(sources, disk=Shelf(FILES if files is None else files), **options)


def service_text(body: str, image: str = "image: app\n", top: str = "") -> str:
    """A file with one service `web`."""
    inner = textwrap.indent(image + textwrap.dedent(body), "    ")
    return f"services:\n  web:\n{inner}\n{top}"


@dataclass(frozen=True)
class Honoured:
    """The text gives `want`."""

    text: str
    get: Callable[[ServiceDeploy], Any]
    want: Any


@dataclass(frozen=True)
class Warned:
    """The text gives one warning that holds `said`."""

    text: str
    said: str


@dataclass(frozen=True)
class Refused:
    """The text is refused at `line` with `path` and `said`, and the remedy of the row (or `remedy`)."""

    text: str
    line: int
    path: str
    said: str
    remedy: str = ""


CASES: dict[str, Honoured | Warned | Refused] = {}


def _task(d: ServiceDeploy) -> Any:
    return d.spec.task


def _box(name: str) -> Callable[[ServiceDeploy], Any]:
    return lambda d: getattr(d.spec.task.container, name)


def _honoured(paths: str, body: str, get: Callable[[ServiceDeploy], Any], want: Any, top: str = "") -> None:
    for path in paths.split():
        CASES[S + path] = Honoured(service_text(body, top=top), get, want)


def _container(paths: str, body: str, want: Any, field: str = "", top: str = "") -> None:
    _honoured(paths, body, _box(field or paths.split()[0].split(".")[0].split("[")[0]), want, top)


def _refused(
    path: str, body: str, at: str, said: str, line: int = 4, top: str = "", image: str = "image: app\n"
) -> None:
    CASES[S + path] = Refused(service_text(body, image, top), line, f"services.web{at}", said)


_whole = Honoured("name: demo\nservices: {web: {image: app}}", lambda d: d.spec.name, "demo_web")
CASES |= dict.fromkeys(("services", "services.*", "name"), _whole)
VOLUME = textwrap.dedent("""
    volumes:
      data:
        name: pool-{{.Task.Slot}}
        driver: nfs
        driver_opts: {device: ":/x", count: 3}
        labels: [tier=db]
    """)
_of_data = Mount(
    kind="volume",
    source="pool-{{.Task.Slot}}",
    target="/data",
    driver="nfs",
    driver_opts={"device": ":/x", "count": "3"},
    labels={"tier": "db"},
)
for _path in ("", ".*", ".*.driver", ".*.driver_opts", ".*.driver_opts.*", ".*.labels", ".*.name"):
    CASES["volumes" + _path] = Honoured(
        service_text("volumes: ['data:/data']", top=VOLUME), _box("mounts"), (_of_data,)
    )
CASES["volumes.*.external"] = Honoured(
    service_text("volumes: ['data:/data']", top="volumes: {data: {external: true}}"),
    _box("mounts"),
    (Mount(kind="volume", source="data", target="/data", external=True),),
)

_container("cap_add", "cap_add: [NET_ADMIN, SYS_TIME]", ("NET_ADMIN", "SYS_TIME"))
_container("cap_drop", "cap_drop: [ALL]", ("ALL",))
_container("command", "command: serve --name 'a b'", ("serve", "--name", "a b"))
_honoured("cpus", "cpus: 0.5", lambda d: _task(d).limits.cpus, 0.5)
_container(
    "devices",
    "devices: ['/dev/a', '/dev/b:/dev/c:r']",
    (Device(source="/dev/a", target="/dev/a"), Device(source="/dev/b", target="/dev/c", permissions="r")),
)
_container(
    "devices[] devices[].source devices[].target devices[].permissions",
    "devices: [{source: /dev/a, target: /dev/b, permissions: rw}]",
    (Device(source="/dev/a", target="/dev/b", permissions="rw"),),
)
_container("dns", "dns: 10.0.0.53", ("10.0.0.53",))
_container("dns_opt", "dns_opt: [timeout:2]", ("timeout:2",), "dns_options")
_container("dns_search", "dns_search: [a.example, b.example]", ("a.example", "b.example"))
_container("entrypoint", "entrypoint: [/bin/sh, -c]", ("/bin/sh", "-c"))
_container("env_file", "env_file: a.env", {"A": "file", "B": "$X"}, "environment")
_container(
    "env_file[] env_file[].path env_file[].required",
    "env_file: [{path: a.env}, {path: none.env, required: false}]",
    {"A": "file", "B": "$X"},
    "environment",
)
_container("env_file[].format", "env_file: [{path: raw.env, format: raw}]", {"A": '"quoted"'}, "environment")
_container("environment", "environment: ['A=1', FROM_SHELL, NOT_SET, 'B=']", {"A": "1", "FROM_SHELL": "shell", "B": ""})
_container(
    "environment.*",
    "environment: {A: 1.10, B: true, C: '{{.Task.Slot}}', FROM_SHELL: }",
    {"A": "1.10", "B": "true", "C": "{{.Task.Slot}}", "FROM_SHELL": "shell"},
)
_container("extends extends.service", "extends: {service: base}", "root", "user", top="  base: {image: b, user: root}")
_container("extra_hosts", "extra_hosts: ['db:10.0.0.5', 'gate=host-gateway']", ("db:10.0.0.5", "gate:host-gateway"))
_container("extra_hosts.*", "extra_hosts: {db: ['10.0.0.5', '[::1]']}", ("db:10.0.0.5", "db:::1"))
_container("group_add", "group_add: [video, 1000]", ("video", "1000"))
_container(
    "healthcheck healthcheck.test",
    "healthcheck: {test: curl localhost}",
    HealthCheck(test=("CMD-SHELL", "curl localhost")),
)
_container("healthcheck.disable", "healthcheck: {disable: true}", HealthCheck(test=("NONE",)))
_container(
    "healthcheck.interval healthcheck.timeout healthcheck.retries healthcheck.start_period healthcheck.start_interval",
    """
           healthcheck:
             test: [CMD, check]
             interval: 1m30s
             timeout: 500ms
             retries: 7
             start_period: 2h
             start_interval: 1.5s
           """,
    HealthCheck(test=("CMD", "check"), interval=90, timeout=0.5, retries=7, start_period=7200, start_interval=1.5),
)
_container("hostname", "hostname: 'web-{{.Task.Slot}}'", "web-{{.Task.Slot}}")
CASES[S + "image"] = Honoured(
    service_text("", image="image: reg.example:5000/team/app:1.0@sha256:" + "a" * 64 + "\n"),
    _box("image"),
    "reg.example:5000/team/app:1.0@sha256:" + "a" * 64,
)
_container("init", "init: false", False)
_container("ipc", "ipc: host", "host")
_container("labels", "labels: ['a=1', b]", {"a": "1", "b": ""})
_container("labels.*", "labels: {a: 1, x-b: two}", {"a": "1", "x-b": "two"})
_container(
    "logging logging.driver logging.options logging.options.*",
    "logging: {driver: local, options: {max-size: 1m, max-file: 3}}",
    LogDriver(driver="local", options={"max-size": "1m", "max-file": "3"}),
)
_honoured("mem_limit", "mem_limit: 64mb", lambda d: _task(d).limits.memory, 64 * 2**20)
_container("network_mode", "network_mode: host", "host")
_container("oom_score_adj", "oom_score_adj: -500", -500)
_container("pid", "pid: host", "host")
_container("platform", "platform: linux/arm64", "linux/arm64")
_container(
    "ports ports[] ports[].target ports[].published ports[].protocol ports[].mode ports[].host_ip",
    """
           ports:
             - target: 80
               mode: host
             - {target: 53, published: "5353", protocol: udp, mode: host, host_ip: 127.0.0.1}
           """,
    (Port(target=80), Port(target=53, published=5353, protocol="udp", host_ip="127.0.0.1")),
)
_container("privileged", "privileged: yes", True)
_honoured("profiles", "", lambda d: d.spec.name, "demo_web", top="  debug: {image: app, profiles: [debug]}")
_container("pull_policy", "pull_policy: if_not_present", "missing")
_container("read_only", "read_only: on", True)
_honoured("restart", "restart: no", lambda d: _task(d).restart.condition, "none")
_container("security_opt", "security_opt: ['no-new-privileges:true']", ("no-new-privileges:true",))
_container("shm_size", "shm_size: 1.5g", 1536 * 2**20)
_container("stdin_open", "stdin_open: 'true'", True)
_container("stop_grace_period", "stop_grace_period: 1m30s", 90.0, "stop_grace")
_container("stop_signal", "stop_signal: SIGQUIT", "SIGQUIT")
_container("sysctls", "sysctls: ['net.core.somaxconn=1024']", {"net.core.somaxconn": "1024"})
_container("sysctls.*", "sysctls: {net.core.somaxconn: 1024}", {"net.core.somaxconn": "1024"})
_container(
    "tmpfs",
    "tmpfs: ['/run:size=64m,mode=1777', /tmp]",
    (Mount(kind="tmpfs", target="/run", size=64 * 2**20, mode=0o1777), Mount(kind="tmpfs", target="/tmp")),
    "mounts",
)
_container("tty", "tty: true", True)
_container(
    "ulimits ulimits.* ulimits.*.soft ulimits.*.hard",
    "ulimits: {nproc: 65535, nofile: {soft: 10, hard: -1}}",
    (Ulimit(name="nproc", soft=65535, hard=65535), Ulimit(name="nofile", soft=10, hard=-1)),
)
_container("user", "user: 1000:1000", "1000:1000")
_container(
    "volumes",
    """
           volumes:
             - data:/data:ro
             - ./conf:/conf
             - ~/keys:/keys:ro,rslave
             - /var/run/x.sock:/x.sock
           """,
    (
        Mount(kind="volume", source="demo_data", target="/data", read_only=True),
        Mount(kind="bind", source="/project/conf", target="/conf"),
        Mount(kind="bind", source="/home/ann/keys", target="/keys", read_only=True, propagation="rslave"),
        Mount(kind="bind", source="/var/run/x.sock", target="/x.sock"),
    ),
    "mounts",
    top="volumes: {data: }",
)
_container(
    "volumes[] volumes[].type volumes[].source volumes[].target volumes[].read_only volumes[].volume "
    "volumes[].volume.nocopy",
    "volumes: [{type: volume, source: data, target: /data, read_only: true, volume: {nocopy: true}}]",
    (Mount(kind="volume", source="demo_data", target="/data", read_only=True, no_copy=True),),
    "mounts",
    top="volumes: {data: {}}",
)
_container(
    "volumes[].bind volumes[].bind.propagation volumes[].bind.create_host_path",
    "volumes: [{type: bind, source: ../x, target: /x, bind: {propagation: shared, create_host_path: true}}]",
    (Mount(kind="bind", source="/x", target="/x", propagation="shared", create_host_path=True),),
    "mounts",
)
_container(
    "volumes[].tmpfs volumes[].tmpfs.size volumes[].tmpfs.mode",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1g, mode: 0o700}}]",
    (Mount(kind="tmpfs", target="/t", size=2**30, mode=0o700),),
    "mounts",
)
_container("working_dir", "working_dir: /srv", "/srv")
_honoured(
    "x-mesh x-mesh.restart x-mesh.restart.max_delay x-mesh.restart.reset_after"
    " x-mesh.rollout x-mesh.rollout.progress_deadline",
    "x-mesh: {restart: {max_delay: 5m, reset_after: 10s}, rollout: {progress_deadline: 3m}}",
    lambda d: (_task(d).restart.max_delay, _task(d).restart.reset_after, d.spec.progress_deadline),
    (300.0, 10.0, 180.0),
)

_honoured(
    "x-mesh.on_disconnect x-mesh.on_disconnect.stop_after",
    "x-mesh: {on_disconnect: {stop_after: 30s}}",
    lambda d: d.spec.task.stop_after,
    30.0,
)
_honoured(
    "x-mesh.on_reconnect",
    "x-mesh: {on_disconnect: keep, on_reconnect: keep-original}",
    lambda d: (d.spec.task.stop_after, d.spec.on_reconnect),
    (0.0, "keep-original"),
)

_honoured(
    "x-mesh.publish",
    "ports: ['8080:80']\nx-mesh: {publish: local}",
    lambda d: [(port.mode, port.local) for port in _task(d).container.ports],
    [("ingress", True)],
)

_container(
    "x-mesh.ready x-mesh.ready.http x-mesh.ready.interval x-mesh.ready.timeout x-mesh.ready.retries",
    "x-mesh: {ready: {http: ':8080/health?x=1', interval: 10s, timeout: 1s, retries: 5}}",
    ReadyCheck(kind="http", port=8080, path="/health?x=1", interval=10.0, timeout=1.0, retries=5),
    "ready",
)
_container("x-mesh.ready.tcp", "x-mesh: {ready: {tcp: 8080}}", ReadyCheck(port=8080), "ready")
_honoured("x-mesh.rollout.canary", "x-mesh: {rollout: {canary: 2}}", lambda d: d.spec.canary, 2)
_honoured(
    "x-mesh.rollout.max_unavailable",
    "x-mesh: {rollout: {max_unavailable: 25%}}",
    lambda d: (d.spec.update.max_unavailable, d.spec.rollback.max_unavailable),
    ("25%", "25%"),
)
_honoured("deploy deploy.replicas", "deploy: {replicas: 3}", lambda d: d.replicas, 3)
_honoured("deploy.mode", "deploy: {mode: global}", lambda d: d.spec.mode, "global")
_honoured("deploy.labels", "deploy: {labels: ['a=1']}", lambda d: d.spec.labels, {"a": "1"})
_honoured("deploy.labels.*", "deploy: {labels: {a: 1}}", lambda d: d.spec.labels, {"a": "1"})
_honoured(
    "deploy.resources deploy.resources.limits deploy.resources.limits.cpus deploy.resources.limits.memory "
    "deploy.resources.limits.pids",
    "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: 100}}}",
    lambda d: (_task(d).limits.cpus, _task(d).limits.memory, _task(d).limits.pids),
    (1.5, 2**30, 100),
)
_honoured(
    "deploy.resources.reservations deploy.resources.reservations.cpus deploy.resources.reservations.memory",
    "deploy: {resources: {reservations: {cpus: 0.25, memory: 20M}}}",
    lambda d: (_task(d).reservations.cpus, _task(d).reservations.memory),
    (0.25, 20 * 2**20),
)
_honoured(
    " ".join(f"deploy.restart_policy{key}" for key in ("", ".condition", ".delay", ".max_attempts", ".window")),
    "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}}",
    lambda d: (
        _task(d).restart.condition,
        _task(d).restart.delay,
        _task(d).restart.max_attempts,
        _task(d).restart.window,
    ),
    ("on-failure", 5.0, 3, 120.0),
)
_honoured(
    "deploy.placement deploy.placement.constraints",
    "deploy: {placement: {constraints: [node.role==manager, node.labels.zone != eu west]}}",
    lambda d: _task(d).placement.constraints,
    (
        Constraint(key="node.role", op="==", value="manager"),
        Constraint(key="node.labels.zone", op="!=", value="eu west"),
    ),
)
_honoured(
    "deploy.placement.preferences deploy.placement.preferences[] deploy.placement.preferences[].spread",
    "deploy: {placement: {preferences: [{spread: node.labels.zone}, {spread: node.hostname}]}}",
    lambda d: _task(d).placement.spread,
    ("node.labels.zone", "node.hostname"),
)
_honoured(
    "deploy.placement.max_replicas_per_node",
    "deploy: {placement: {max_replicas_per_node: 2}}",
    lambda d: _task(d).placement.max_per_node,
    2,
)
_POLICY_KEYS = ("", ".parallelism", ".delay", ".failure_action", ".monitor", ".max_failure_ratio", ".order")
for _which, _field, _action in (("update_config", "update", "rollback"), ("rollback_config", "rollback", "continue")):
    _honoured(
        " ".join(f"deploy.{_which}{key}" for key in _POLICY_KEYS),
        f"deploy: {{{_which}: {{parallelism: 0, delay: 10s, failure_action: {_action}, monitor: 1m, "
        "max_failure_ratio: 0.2, order: start-first}}",
        lambda d, field=_field: tuple(
            getattr(getattr(d.spec, field), name)
            for name in ("parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order")
        ),
        (0, 10.0, _action, 60.0, 0.2, "start-first"),
    )

CASES["version"] = Warned("version: '3.9'\n" + service_text(""), "stack.yaml:1: version: `version` has no effect here")
CASES[S + "build"] = Warned(service_text("build: ."), "stack.yaml:4: services.web.build: `build` has no effect here")
CASES[S + "container_name"] = Warned(service_text("container_name: x"), "stack.yaml:4: services.web.container_name: ")
CASES[S + "expose"] = Warned(service_text("expose: ['80']"), "stack.yaml:4: services.web.expose: ")

DB = "  db:\n    image: app\n"
_honoured("depends_on", "depends_on: [db]", lambda d: d.spec.depends_on, (Dependency(service="demo_db"),), top=DB)
_honoured(
    "depends_on.* depends_on.*.condition depends_on.*.restart depends_on.*.required",
    "depends_on: {db: {condition: service_healthy, restart: true, required: false}}",
    lambda d: d.spec.depends_on,
    (Dependency(service="demo_db", condition="service_healthy", restart=True, required=False),),
    top=DB,
)

_honoured(
    "x-mesh.pre_start x-mesh.pre_start[] x-mesh.pre_start[].command x-mesh.pre_start[].image "
    "x-mesh.pre_start[].entrypoint x-mesh.pre_start[].environment x-mesh.pre_start[].environment.* "
    "x-mesh.pre_start[].user x-mesh.pre_start[].working_dir",
    "x-mesh: {pre_start: [{command: migrate --all}, {image: busybox, entrypoint: [sh, -c], command: [chown 1 /data], "
    "environment: {A: b}, user: root, working_dir: /data}]}",
    lambda d: _task(d).pre_start,
    (
        PreStart(command=("migrate", "--all")),
        PreStart(
            image="busybox",
            entrypoint=("sh", "-c"),
            command=("chown 1 /data",),
            environment={"A": "b"},
            user="root",
            working_dir="/data",
        ),
    ),
)

_honoured(
    "x-mesh.placement x-mesh.placement.affinity x-mesh.placement.anti_affinity x-mesh.placement.spread",
    "x-mesh: {placement: {affinity: [db, other_cache], anti_affinity: [web], spread: [node.labels.zone, "
    "node.labels.rack]}}",
    lambda d: _task(d).placement,
    Placement(
        affinity=("demo_db", "other_cache"),
        anti_affinity=("demo_web",),
        spread=("node.labels.zone", "node.labels.rack"),
    ),
    top=DB,
)

_honoured("x-mesh.drift", "x-mesh: {drift: replace}", lambda d: _task(d).drift, "replace")

for _key in ("configs", "include", "models", "secrets", "x-mesh"):
    CASES[_key] = Refused(f"{_key}: {{}}\nservices: {{web: {{image: a}}}}", 1, _key, f"`{_key}` is not supported")
CASES["volumes.*.driver_opts (of an external volume)"] = Refused(
    service_text("", top="volumes:\n  data:\n    external: true\n    driver_opts: {a: b}\n"),
    8, "volumes.data.driver_opts", "the volume is external",
)  # fmt: skip
for _key in (
    "annotations", "attach", "blkio_config", "cgroup", "cgroup_parent", "configs", "cpu_count", "cpu_percent",
    "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpuset", "credential_spec",
    "develop", "device_cgroup_rules", "domainname", "external_links", "gpus", "isolation", "label_file",
    "links", "mac_address", "mem_reservation", "mem_swappiness", "memswap_limit", "models",
    "oom_kill_disable", "pids_limit", "post_start", "pre_start", "pre_stop", "post_stop", "provider",
    "pull_refresh_after", "runtime", "scale", "secrets", "storage_opt", "use_api_socket", "userns_mode", "uts",
    "volume_driver", "volumes_from",
):  # fmt: skip
    _refused(_key, f"{_key}: x", f".{_key}", f"`{_key}` is not supported")
_refused("build (without image)", "build: .", "", "a service without `image`", line=2, image="")
_refused("image (missing)", "user: me", "", "a service without `image`", line=2, image="")
_honoured("deploy.endpoint_mode", "deploy: {endpoint_mode: dnsrr}", lambda d: d.spec.endpoint_mode, "dnsrr")
_refused("deploy.mode=replicated-job", "deploy: {mode: replicated-job}", ".deploy.mode", "not supported")
_refused("deploy.mode=global-job", "deploy: {mode: global-job}", ".deploy.mode", "not supported")
for _key in ("devices", "generic_resources", "pids"):
    _refused(
        f"deploy.resources.reservations.{_key}",
        f"deploy: {{resources: {{reservations: {{{_key}: 1}}}}}}",
        f".deploy.resources.reservations.{_key}",
        "not supported",
    )
_refused("extends.file", "extends: {file: other.yaml, service: base}", ".extends.file", "not supported")
_refused("healthcheck.test=(another first word)", "healthcheck: {test: [curl, x]}", ".healthcheck.test", "begins with")
_refused("network_mode=service:... container:...", "network_mode: 'service:db'", ".network_mode", "not supported")
_refused("pid=service:... container:...", "pid: 'container:x'", ".pid", "not supported")
_refused("ipc=service:... container:...", "ipc: 'service:x'", ".ipc", "not supported")
_refused("ports (short form)", "ports: ['8000-8010:80']", ".ports[0]", "is no port")
_refused(
    "ports[].host_ip (of an ingress port)",
    "ports: [{target: 80, published: 8080, host_ip: 127.0.0.1}]",
    ".ports[0].host_ip",
    "has no address",
)
FRONT = """
    networks:
      front:
        name: shop-front
        driver: overlay
        driver_opts: {encrypted: "false"}
        internal: true
        attachable: true
        labels: {a: b}
        ipam: {config: [{subnet: 10.20.0.0/16}]}
      old: {external: true, name: legacy}
"""
_honoured(
    "networks networks.* networks.*.aliases",
    "networks: {front: {aliases: [shop, shop.example]}, old: }",
    lambda d: _task(d).container.networks,
    (Attachment(network="shop-front", aliases=("shop", "shop.example")), Attachment(network="legacy")),
    top=textwrap.dedent(FRONT),
)
for _key in (
    "", ".*", ".*.attachable", ".*.driver", ".*.driver_opts", ".*.driver_opts.*", ".*.external", ".*.internal",
    ".*.ipam", ".*.ipam.config", ".*.ipam.config[]", ".*.ipam.config[].subnet", ".*.labels", ".*.name",
):  # fmt: skip
    CASES[f"networks{_key}"] = CASES[S + "networks"]
for _key in ("ipv4_address", "ipv6_address", "priority"):
    _refused(
        f"networks.*.{_key}",
        f"networks: {{front: {{{_key}: 1}}}}",
        f".networks.front.{_key}",
        "not supported",
        top="networks: {front: }\n",
    )
for _row, _at, _body, _said in (
    ("networks.*.driver=(another)", "driver", "{driver: macvlan}", "is not there"),
    ("networks.*.driver_opts=encrypted", "driver_opts", '{driver_opts: {encrypted: ""}}', "encrypted networks"),
    ("networks.*.enable_ipv6", "enable_ipv6", "{enable_ipv6: true}", "not supported"),
    (
        "networks.*.driver_opts (of an external network)", "driver_opts", "{external: true, driver_opts: {a: b}}",
        "the network is external",
    ),
):  # fmt: skip
    CASES[_row] = Refused(f"networks: {{n: {_body}}}\nservices: {{web: {{image: a}}}}", 1, f"networks.n.{_at}", _said)
_refused(
    "ports[].published=(a range)",
    "ports: [{target: 80, published: 8000-8010, mode: host}]",
    ".ports[0].published",
    "a range of published ports",
)
_refused("ports[].protocol=sctp", "ports: [{target: 80, protocol: sctp, mode: host}]", ".ports[0].protocol", "sctp")
for _key in ("name", "app_protocol"):
    _refused(f"ports[].{_key}", f"ports: [{{target: 80, mode: host, {_key}: x}}]", f".ports[0].{_key}", "not supported")
_refused("pull_policy=build daily weekly every_...", "pull_policy: build", ".pull_policy", "not supported")
_refused("volumes (anonymous)", "volumes: [/data]", ".volumes[0]", "a volume without a name")
for _key in ("recursive", "selinux"):
    _refused(
        f"volumes[].bind.{_key}",
        f"volumes: [{{type: bind, source: /a, target: /a, bind: {{{_key}: z}}}}]",
        f".volumes[0].bind.{_key}",
        "not supported",
    )
for _key in ("cluster", "consistency", "image"):
    _refused(
        f"volumes[].{_key}",
        f"volumes: [{{type: bind, source: /a, target: /a, {_key}: x}}]",
        f".volumes[0].{_key}",
        "not supported",
    )
_refused(
    "volumes[].type=npipe cluster image",
    "volumes: [{type: npipe, source: a, target: /a}]",
    ".volumes[0].type",
    'the type "npipe" is not supported',
)
for _key in ("labels", "subpath"):
    _refused(
        f"volumes[].volume.{_key}",
        f"volumes: [{{type: volume, source: d, target: /a, volume: {{{_key}: x}}}}]",
        f".volumes[0].volume.{_key}",
        "not supported",
        top="volumes: {d: }",
    )
