"""A case for every key that says what a container is, and for those of the whole file."""

from __future__ import annotations

import textwrap

from schemas.ports import Port
from schemas.spec import Device, HealthCheck, LogDriver, Mount, Ulimit
from tests.unit.compose.cases import Cases, Honoured, S, box, task_of
from tests.unit.compose.reading import service_text

CASES = Cases()

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
    CASES["volumes" + _path] = Honoured(service_text("volumes: ['data:/data']", top=VOLUME), box("mounts"), (_of_data,))
CASES["volumes.*.external"] = Honoured(
    service_text("volumes: ['data:/data']", top="volumes: {data: {external: true}}"),
    box("mounts"),
    (Mount(kind="volume", source="data", target="/data", external=True),),
)

CASES.container("cap_add", "cap_add: [NET_ADMIN, SYS_TIME]", ("NET_ADMIN", "SYS_TIME"))
CASES.container("cap_drop", "cap_drop: [ALL]", ("ALL",))
CASES.container("command", "command: serve --name 'a b'", ("serve", "--name", "a b"))
CASES.honoured("cpus", "cpus: 0.5", lambda d: task_of(d).limits.cpus, 0.5)
CASES.container(
    "devices",
    "devices: ['/dev/a', '/dev/b:/dev/c:r']",
    (Device(source="/dev/a", target="/dev/a"), Device(source="/dev/b", target="/dev/c", permissions="r")),
)
CASES.container(
    "devices[] devices[].source devices[].target devices[].permissions",
    "devices: [{source: /dev/a, target: /dev/b, permissions: rw}]",
    (Device(source="/dev/a", target="/dev/b", permissions="rw"),),
)
CASES.container("dns", "dns: 10.0.0.53", ("10.0.0.53",))
CASES.container("dns_opt", "dns_opt: [timeout:2]", ("timeout:2",), "dns_options")
CASES.container("dns_search", "dns_search: [a.example, b.example]", ("a.example", "b.example"))
CASES.container("entrypoint", "entrypoint: [/bin/sh, -c]", ("/bin/sh", "-c"))
CASES.container("env_file", "env_file: a.env", {"A": "file", "B": "$X"}, "environment")
CASES.container(
    "env_file[] env_file[].path env_file[].required",
    "env_file: [{path: a.env}, {path: none.env, required: false}]",
    {"A": "file", "B": "$X"},
    "environment",
)
CASES.container("env_file[].format", "env_file: [{path: raw.env, format: raw}]", {"A": '"quoted"'}, "environment")
CASES.container(
    "environment", "environment: ['A=1', FROM_SHELL, NOT_SET, 'B=']", {"A": "1", "FROM_SHELL": "shell", "B": ""}
)
CASES.container(
    "environment.*",
    "environment: {A: 1.10, B: true, C: '{{.Task.Slot}}', FROM_SHELL: }",
    {"A": "1.10", "B": "true", "C": "{{.Task.Slot}}", "FROM_SHELL": "shell"},
)
CASES.container(
    "extends extends.service", "extends: {service: base}", "root", "user", top="  base: {image: b, user: root}"
)
CASES.container(
    "extra_hosts", "extra_hosts: ['db:10.0.0.5', 'gate=host-gateway']", ("db:10.0.0.5", "gate:host-gateway")
)
CASES.container("extra_hosts.*", "extra_hosts: {db: ['10.0.0.5', '[::1]']}", ("db:10.0.0.5", "db:::1"))
CASES.container("group_add", "group_add: [video, 1000]", ("video", "1000"))
CASES.container(
    "healthcheck healthcheck.test",
    "healthcheck: {test: curl localhost}",
    HealthCheck(test=("CMD-SHELL", "curl localhost")),
)
CASES.container("healthcheck.disable", "healthcheck: {disable: true}", HealthCheck(test=("NONE",)))
CASES.container(
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
CASES.container("hostname", "hostname: 'web-{{.Task.Slot}}'", "web-{{.Task.Slot}}")
CASES[S + "image"] = Honoured(
    service_text("", image="image: reg.example:5000/team/app:1.0@sha256:" + "a" * 64 + "\n"),
    box("image"),
    "reg.example:5000/team/app:1.0@sha256:" + "a" * 64,
)
CASES.container("init", "init: false", False)
CASES.container("ipc", "ipc: host", "host")
CASES.container("labels", "labels: ['a=1', b]", {"a": "1", "b": ""})
CASES.container("labels.*", "labels: {a: 1, x-b: two}", {"a": "1", "x-b": "two"})
CASES.container(
    "logging logging.driver logging.options logging.options.*",
    "logging: {driver: local, options: {max-size: 1m, max-file: 3}}",
    LogDriver(driver="local", options={"max-size": "1m", "max-file": "3"}),
)
CASES.honoured("mem_limit", "mem_limit: 64mb", lambda d: task_of(d).limits.memory, 64 * 2**20)
CASES.container("network_mode", "network_mode: host", "host")
CASES.container("oom_score_adj", "oom_score_adj: -500", -500)
CASES.container("pid", "pid: host", "host")
CASES.container("platform", "platform: linux/arm64", "linux/arm64")
CASES.container(
    "ports ports[] ports[].target ports[].published ports[].protocol ports[].mode ports[].host_ip",
    """
           ports:
             - target: 80
               mode: host
             - {target: 53, published: "5353", protocol: udp, mode: host, host_ip: 127.0.0.1}
             - {target: 81, published: 8000-8010, mode: host}
             - {target: 82, published: "8000-8010"}
             - {target: 82, published: 9000-9000}
             - 8000-8010:83/udp
             - 8101-8102:84-85
           """,
    (
        Port(target=80),
        Port(target=53, published=5353, protocol="udp", host_ip="127.0.0.1"),
        Port(target=81, published=8000, published_last=8010),
        Port(target=82, published=8000, published_last=8010, mode="ingress"),
        Port(target=82, published=9000, mode="ingress"),
        Port(target=83, published=8000, published_last=8010, protocol="udp", mode="ingress"),
        Port(target=84, published=8101, mode="ingress"),
        Port(target=85, published=8102, mode="ingress"),
    ),
)
CASES.container("privileged", "privileged: yes", True)
CASES.honoured("profiles", "", lambda d: d.spec.name, "demo_web", top="  debug: {image: app, profiles: [debug]}")
CASES.container("pull_policy", "pull_policy: if_not_present", "missing")
CASES.container("read_only", "read_only: on", True)
CASES.honoured("restart", "restart: no", lambda d: task_of(d).restart.condition, "none")
CASES.container("security_opt", "security_opt: ['no-new-privileges:true']", ("no-new-privileges:true",))
CASES.container("shm_size", "shm_size: 1.5g", 1536 * 2**20)
CASES.container("stdin_open", "stdin_open: 'true'", True)
CASES.container("stop_grace_period", "stop_grace_period: 1m30s", 90.0, "stop_grace")
CASES.container("stop_signal", "stop_signal: SIGQUIT", "SIGQUIT")
CASES.container("sysctls", "sysctls: ['net.core.somaxconn=1024']", {"net.core.somaxconn": "1024"})
CASES.container("sysctls.*", "sysctls: {net.core.somaxconn: 1024}", {"net.core.somaxconn": "1024"})
CASES.container(
    "tmpfs",
    "tmpfs: ['/run:size=64m,mode=1777', /tmp]",
    (Mount(kind="tmpfs", target="/run", size=64 * 2**20, mode=0o1777), Mount(kind="tmpfs", target="/tmp")),
    "mounts",
)
CASES.container("tty", "tty: true", True)
CASES.container(
    "ulimits ulimits.* ulimits.*.soft ulimits.*.hard",
    "ulimits: {nproc: 65535, nofile: {soft: 10, hard: -1}}",
    (Ulimit(name="nproc", soft=65535, hard=65535), Ulimit(name="nofile", soft=10, hard=-1)),
)
CASES.container("user", "user: 1000:1000", "1000:1000")
CASES.container(
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
CASES.container(
    "volumes[] volumes[].type volumes[].source volumes[].target volumes[].read_only volumes[].volume "
    "volumes[].volume.nocopy",
    "volumes: [{type: volume, source: data, target: /data, read_only: true, volume: {nocopy: true}}]",
    (Mount(kind="volume", source="demo_data", target="/data", read_only=True, no_copy=True),),
    "mounts",
    top="volumes: {data: {}}",
)
CASES.container(
    "volumes[].bind volumes[].bind.propagation volumes[].bind.create_host_path",
    "volumes: [{type: bind, source: ../x, target: /x, bind: {propagation: shared, create_host_path: true}}]",
    (Mount(kind="bind", source="/x", target="/x", propagation="shared", create_host_path=True),),
    "mounts",
)
CASES.container(
    "volumes[].tmpfs volumes[].tmpfs.size volumes[].tmpfs.mode",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1g, mode: 0o700}}]",
    (Mount(kind="tmpfs", target="/t", size=2**30, mode=0o700),),
    "mounts",
)
CASES.container("working_dir", "working_dir: /srv", "/srv")
