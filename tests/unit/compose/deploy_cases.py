"""A case for every key that says how tasks are placed, rolled out and kept."""

from __future__ import annotations

from schemas.spec import Constraint, Dependency, Placement, PreStart, ReadyCheck
from tests.unit.compose.cases import Cases, S, Warned, task_of
from tests.unit.compose.reading import service_text

CASES = Cases()

CASES.honoured(
    "x-mesh x-mesh.restart x-mesh.restart.max_delay x-mesh.restart.reset_after"
    " x-mesh.rollout x-mesh.rollout.progress_deadline",
    "x-mesh: {restart: {max_delay: 5m, reset_after: 10s}, rollout: {progress_deadline: 3m}}",
    lambda d: (task_of(d).restart.max_delay, task_of(d).restart.reset_after, d.spec.progress_deadline),
    (300.0, 10.0, 180.0),
)

CASES.honoured(
    "x-mesh.on_disconnect x-mesh.on_disconnect.stop_after",
    "x-mesh: {on_disconnect: {stop_after: 30s}}",
    lambda d: d.spec.task.stop_after,
    30.0,
)
CASES.honoured(
    "x-mesh.on_reconnect",
    "x-mesh: {on_disconnect: keep, on_reconnect: keep-original}",
    lambda d: (d.spec.task.stop_after, d.spec.on_reconnect),
    (0.0, "keep-original"),
)

CASES.honoured(
    "x-mesh.publish",
    "ports: ['8080:80']\nx-mesh: {publish: local}",
    lambda d: [(port.mode, port.local) for port in task_of(d).container.ports],
    [("ingress", True)],
)

CASES.container(
    "x-mesh.ready x-mesh.ready.http x-mesh.ready.interval x-mesh.ready.timeout x-mesh.ready.retries",
    "x-mesh: {ready: {http: ':8080/health?x=1', interval: 10s, timeout: 1s, retries: 5}}",
    ReadyCheck(kind="http", port=8080, path="/health?x=1", interval=10.0, timeout=1.0, retries=5),
    "ready",
)
CASES.container("x-mesh.ready.tcp", "x-mesh: {ready: {tcp: 8080}}", ReadyCheck(port=8080), "ready")
CASES.honoured("x-mesh.rollout.canary", "x-mesh: {rollout: {canary: 2}}", lambda d: d.spec.canary, 2)
CASES.honoured(
    "x-mesh.rollout.max_unavailable",
    "x-mesh: {rollout: {max_unavailable: 25%}}",
    lambda d: (d.spec.update.max_unavailable, d.spec.rollback.max_unavailable),
    ("25%", "25%"),
)
CASES.honoured("deploy deploy.replicas", "deploy: {replicas: 3}", lambda d: d.replicas, 3)
CASES.honoured("deploy.mode", "deploy: {mode: global}", lambda d: d.spec.mode, "global")
CASES.honoured("deploy.labels", "deploy: {labels: ['a=1']}", lambda d: d.spec.labels, {"a": "1"})
CASES.honoured("deploy.labels.*", "deploy: {labels: {a: 1}}", lambda d: d.spec.labels, {"a": "1"})
CASES.honoured(
    "deploy.resources deploy.resources.limits deploy.resources.limits.cpus deploy.resources.limits.memory "
    "deploy.resources.limits.pids",
    "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: 100}}}",
    lambda d: (task_of(d).limits.cpus, task_of(d).limits.memory, task_of(d).limits.pids),
    (1.5, 2**30, 100),
)
CASES.honoured(
    "deploy.resources.reservations deploy.resources.reservations.cpus deploy.resources.reservations.memory",
    "deploy: {resources: {reservations: {cpus: 0.25, memory: 20M}}}",
    lambda d: (task_of(d).reservations.cpus, task_of(d).reservations.memory),
    (0.25, 20 * 2**20),
)
CASES.honoured(
    " ".join(f"deploy.restart_policy{key}" for key in ("", ".condition", ".delay", ".max_attempts", ".window")),
    "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}}",
    lambda d: (
        task_of(d).restart.condition,
        task_of(d).restart.delay,
        task_of(d).restart.max_attempts,
        task_of(d).restart.window,
    ),
    ("on-failure", 5.0, 3, 120.0),
)
CASES.honoured(
    "deploy.placement deploy.placement.constraints",
    "deploy: {placement: {constraints: [node.role==manager, node.labels.zone != eu west]}}",
    lambda d: task_of(d).placement.constraints,
    (
        Constraint(key="node.role", op="==", value="manager"),
        Constraint(key="node.labels.zone", op="!=", value="eu west"),
    ),
)
CASES.honoured(
    "deploy.placement.preferences deploy.placement.preferences[] deploy.placement.preferences[].spread",
    "deploy: {placement: {preferences: [{spread: node.labels.zone}, {spread: node.hostname}]}}",
    lambda d: task_of(d).placement.spread,
    ("node.labels.zone", "node.hostname"),
)
CASES.honoured(
    "deploy.placement.max_replicas_per_node",
    "deploy: {placement: {max_replicas_per_node: 2}}",
    lambda d: task_of(d).placement.max_per_node,
    2,
)
_POLICY_KEYS = ("", ".parallelism", ".delay", ".failure_action", ".monitor", ".max_failure_ratio", ".order")
for _which, _field, _action in (("update_config", "update", "rollback"), ("rollback_config", "rollback", "continue")):
    CASES.honoured(
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
CASES.honoured("depends_on", "depends_on: [db]", lambda d: d.spec.depends_on, (Dependency(service="demo_db"),), top=DB)
CASES.honoured(
    "depends_on.* depends_on.*.condition depends_on.*.restart depends_on.*.required",
    "depends_on: {db: {condition: service_healthy, restart: true, required: false}}",
    lambda d: d.spec.depends_on,
    (Dependency(service="demo_db", condition="service_healthy", restart=True, required=False),),
    top=DB,
)

CASES.honoured(
    "x-mesh.pre_start x-mesh.pre_start[] x-mesh.pre_start[].command x-mesh.pre_start[].image "
    "x-mesh.pre_start[].entrypoint x-mesh.pre_start[].environment x-mesh.pre_start[].environment.* "
    "x-mesh.pre_start[].user x-mesh.pre_start[].working_dir",
    "x-mesh: {pre_start: [{command: migrate --all}, {image: busybox, entrypoint: [sh, -c], command: [chown 1 /data], "
    "environment: {A: b}, user: root, working_dir: /data}]}",
    lambda d: task_of(d).pre_start,
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

CASES.honoured(
    "x-mesh.placement x-mesh.placement.affinity x-mesh.placement.anti_affinity x-mesh.placement.spread",
    "x-mesh: {placement: {affinity: [db, other_cache], anti_affinity: [web], spread: [node.labels.zone, "
    "node.labels.rack]}}",
    lambda d: task_of(d).placement,
    Placement(
        affinity=("demo_db", "other_cache"),
        anti_affinity=("demo_web",),
        spread=("node.labels.zone", "node.labels.rack"),
    ),
    top=DB,
)

CASES.honoured("x-mesh.drift", "x-mesh: {drift: replace}", lambda d: task_of(d).drift, "replace")
