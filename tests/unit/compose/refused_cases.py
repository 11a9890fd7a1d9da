"""A case for every key that is refused or has no effect, and for networks."""

from __future__ import annotations

import textwrap

from schemas.network import Attachment
from tests.unit.compose.cases import Cases, Refused, S, task_of
from tests.unit.compose.reading import service_text

CASES = Cases()

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
    CASES.refused(_key, f"{_key}: x", f".{_key}", f"`{_key}` is not supported")
CASES.refused("build (without image)", "build: .", "", "a service without `image`", line=2, image="")
CASES.refused("image (missing)", "user: me", "", "a service without `image`", line=2, image="")
CASES.honoured("deploy.endpoint_mode", "deploy: {endpoint_mode: dnsrr}", lambda d: d.spec.endpoint_mode, "dnsrr")
CASES.refused("deploy.mode=replicated-job", "deploy: {mode: replicated-job}", ".deploy.mode", "not supported")
CASES.refused("deploy.mode=global-job", "deploy: {mode: global-job}", ".deploy.mode", "not supported")
for _key in ("devices", "generic_resources", "pids"):
    CASES.refused(
        f"deploy.resources.reservations.{_key}",
        f"deploy: {{resources: {{reservations: {{{_key}: 1}}}}}}",
        f".deploy.resources.reservations.{_key}",
        "not supported",
    )
CASES.refused("extends.file", "extends: {file: other.yaml, service: base}", ".extends.file", "not supported")
CASES.refused(
    "healthcheck.test=(another first word)", "healthcheck: {test: [curl, x]}", ".healthcheck.test", "begins with"
)
CASES.refused("network_mode=service:... container:...", "network_mode: 'service:db'", ".network_mode", "not supported")
CASES.refused("pid=service:... container:...", "pid: 'container:x'", ".pid", "not supported")
CASES.refused("ipc=service:... container:...", "ipc: 'service:x'", ".ipc", "not supported")
CASES.refused("ports (short form)", "ports: ['8000-:80']", ".ports[0]", "is no port")
CASES.refused(
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
CASES.honoured(
    "networks networks.* networks.*.aliases",
    "networks: {front: {aliases: [shop, shop.example]}, old: }",
    lambda d: task_of(d).container.networks,
    (Attachment(network="shop-front", aliases=("shop", "shop.example")), Attachment(network="legacy")),
    top=textwrap.dedent(FRONT),
)
for _key in (
    "", ".*", ".*.attachable", ".*.driver", ".*.driver_opts", ".*.driver_opts.*", ".*.external", ".*.internal",
    ".*.ipam", ".*.ipam.config", ".*.ipam.config[]", ".*.ipam.config[].subnet", ".*.labels", ".*.name",
):  # fmt: skip
    CASES[f"networks{_key}"] = CASES[S + "networks"]
for _key in ("ipv4_address", "ipv6_address", "priority"):
    CASES.refused(
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
CASES.refused(
    "ports[].protocol=sctp", "ports: [{target: 80, protocol: sctp, mode: host}]", ".ports[0].protocol", "sctp"
)
for _key in ("name", "app_protocol"):
    CASES.refused(
        f"ports[].{_key}", f"ports: [{{target: 80, mode: host, {_key}: x}}]", f".ports[0].{_key}", "not supported"
    )
CASES.refused("pull_policy=build daily weekly every_...", "pull_policy: build", ".pull_policy", "not supported")
CASES.refused("volumes (anonymous)", "volumes: [/data]", ".volumes[0]", "a volume without a name")
for _key in ("recursive", "selinux"):
    CASES.refused(
        f"volumes[].bind.{_key}",
        f"volumes: [{{type: bind, source: /a, target: /a, bind: {{{_key}: z}}}}]",
        f".volumes[0].bind.{_key}",
        "not supported",
    )
for _key in ("cluster", "consistency", "image"):
    CASES.refused(
        f"volumes[].{_key}",
        f"volumes: [{{type: bind, source: /a, target: /a, {_key}: x}}]",
        f".volumes[0].{_key}",
        "not supported",
    )
CASES.refused(
    "volumes[].type=npipe cluster image",
    "volumes: [{type: npipe, source: a, target: /a}]",
    ".volumes[0].type",
    'the type "npipe" is not supported',
)
for _key in ("labels", "subpath"):
    CASES.refused(
        f"volumes[].volume.{_key}",
        f"volumes: [{{type: volume, source: d, target: /a, volume: {{{_key}: x}}}}]",
        f".volumes[0].volume.{_key}",
        "not supported",
        top="volumes: {d: }",
    )
