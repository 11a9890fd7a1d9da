"""`service create` and `update`: flags onto specs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.flags.applying import changed_spec, new_spec
from meshctl.flags.values import parse_constraint, parse_mount, parse_ports
from schemas.errors import Conflict, MeshError, UsageError
from schemas.network import Attachment
from schemas.ports import Port
from schemas.records import ServiceRecord
from schemas.serviceapi import DeployAnswer, Deployed, PutService, ServiceList, ServiceView
from schemas.spec import Constraint, ContainerSpec, HealthCheck, Mount, ReadyCheck, ServiceSpec, TaskSpec


def made(*, environ: dict[str, str] | None = None, **given_: Any) -> ServiceSpec:
    return new_spec("web", "hello:1", given_.pop("command", ()), given_, environ or {})


def changed(spec: ServiceSpec, **given_: Any) -> ServiceSpec:
    return changed_spec(spec, given_, {})


def test_create_puts_every_value_where_it_belongs() -> None:
    spec = made(
        command=("serve", "-v"),
        env=("A=1", "HOME_OF"),
        environ={"HOME_OF": "here"},
        label=("team=x",),
        container_label=("c=d",),
        constraint=("node.labels.zone == eu",),
        placement_pref=("spread=node.labels.rack",),
        publish=("target=80,published=8080,mode=host",),
        mount=("type=volume,source=data,target=/data,readonly",),
        limit_memory="64m",
        reserve_cpu="0.5",
        restart_condition="on-failure",
        restart_delay="2s",
        stop_grace_period="1m",
        update_order="start-first",
        update_parallelism="2",
        replicas_max_per_node="3",
        user="1000:1000",
        init=True,
        health_cmd="curl -f localhost",
        health_interval="5s",
        log_driver="local",
        log_opt=("max-size=1m",),
    )
    container = spec.task.container
    assert container.command == ("serve", "-v")
    assert container.environment == {"A": "1", "HOME_OF": "here"}
    assert (spec.labels, container.labels) == ({"team": "x"}, {"c": "d"})
    assert spec.task.placement.constraints == (Constraint(key="node.labels.zone", op="==", value="eu"),)
    assert (spec.task.placement.spread, spec.task.placement.max_per_node) == (("node.labels.rack",), 3)
    assert container.ports == (Port(target=80, published=8080),)
    assert container.mounts == (Mount(kind="volume", source="data", target="/data", read_only=True),)
    assert (spec.task.limits.memory, spec.task.reservations.cpus) == (64 << 20, 0.5)
    assert (spec.task.restart.condition, spec.task.restart.delay, container.stop_grace) == ("on-failure", 2.0, 60.0)
    assert (spec.update.order, spec.update.parallelism) == ("start-first", 2)
    assert (container.user, container.init) == ("1000:1000", True)
    assert container.healthcheck == HealthCheck(test=("CMD-SHELL", "curl -f localhost"), interval=5.0)
    assert container.logging is not None
    assert (container.logging.driver, container.logging.options) == ("local", {"max-size": "1m"})


def test_update_adds_changes_and_removes() -> None:
    spec = made(env=("A=1", "B=2"), constraint=("node.role==worker",), publish=("target=80,mode=host",))
    after = changed(
        spec,
        env_add=("A=9", "C=3"),
        env_rm=("B",),
        constraint_add=("node.labels.ssd==yes",),
        constraint_rm=("node.role == worker",),
        publish_add=("target=80,published=81,mode=host",),
        image="hello:2",
        args="run --fast",
        force=True,
    )
    container = after.task.container
    assert container.environment == {"A": "9", "C": "3"}
    assert [str(each) for each in after.task.placement.constraints] == ["node.labels.ssd==yes"]
    assert container.ports == (Port(target=80, published=81),)
    assert (container.image, container.image_id, container.command) == ("hello:2", "", ("run", "--fast"))
    assert after.task.force == spec.task.force + 1


def test_ports_are_published_on_every_node_unless_told_otherwise() -> None:
    ports = made(publish=("8080:80", "53:53/udp", "target=81,published=8081,local=true", "82")).task.container.ports
    assert ports == (
        Port(target=80, published=8080, mode="ingress"),
        Port(target=53, published=53, protocol="udp", mode="ingress"),
        Port(target=81, published=8081, mode="ingress", local=True),
        Port(target=82, mode="ingress"),
    )


def test_a_published_range_is_a_choice_for_one_target_and_pairs_for_as_many() -> None:
    given_ = ("8000-8010:80", "8101-8102:81-82/udp", "target=83,published=9000-9001,mode=host", "9100-9100:84")
    assert made(publish=given_).task.container.ports == (
        Port(target=80, published=8000, published_last=8010, mode="ingress"),
        Port(target=81, published=8101, protocol="udp", mode="ingress"),
        Port(target=82, published=8102, protocol="udp", mode="ingress"),
        Port(target=83, published=9000, published_last=9001),
        Port(target=84, published=9100, mode="ingress"),
    )
    narrower = changed(made(publish=("8000-8010:80", "81")), publish_add=("8000-8005:80",), publish_rm=("81",))
    assert narrower.task.container.ports == (Port(target=80, published=8000, published_last=8005, mode="ingress"),)


def test_networks_come_and_go_with_their_aliases() -> None:
    spec = made(network=("front", "name=back,alias=db,alias=store"))
    front, back = Attachment(network="front"), Attachment(network="back", aliases=("db", "store"))
    assert spec.task.container.networks == (front, back)
    assert changed(spec, network_rm=("front",)).task.container.networks == (back,)
    again = changed(spec, network_add=("name=front,alias=www",)).task.container.networks
    assert again == (back, Attachment(network="front", aliases=("www",)))


def test_readiness_is_asked_for_changed_and_taken_back() -> None:
    spec = made(ready_http=":8080/up", ready_interval="1s", ready_retries="2")
    assert spec.task.container.ready == ReadyCheck(kind="http", port=8080, path="/up", interval=1.0, retries=2)
    assert changed(spec, env_add=("A=1",)).task.container.ready == spec.task.container.ready
    other = changed(spec, ready_tcp="9000", ready_timeout="500ms").task.container.ready
    assert other == ReadyCheck(kind="tcp", port=9000, interval=1.0, timeout=0.5, retries=2)
    assert changed(spec, no_ready=True).task.container.ready is None


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"ready_http": "http://localhost:80/"}, "is no port and path"),
        ({"ready_tcp": "70000"}, "is no port"),
        ({"ready_http": ":80", "ready_tcp": "80"}, "can't both be"),
        ({"ready_tcp": "80", "no_ready": True}, "can't both be"),
        ({"ready_interval": "1s"}, "there is no readiness check to change"),
        ({"ready_tcp": "80", "ready_retries": "0"}, "--ready-retries can't be 0"),
    ],
)
def test_a_check_of_readiness_that_can_not_be_is_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made(**given_)


def test_what_compose_says_in_x_mesh_has_a_flag() -> None:
    spec = made(
        cap=("NET_ADMIN",),
        cap_drop=("ALL",),
        affinity=("shop_db",),
        anti_affinity=("web",),
        progress_deadline="30s",
        drift="replace",
        stop_after="30s",
        on_reconnect="keep-original",
        endpoint_mode="dnsrr",
        health_cmd="true",
        health_start_interval="1s",
    )
    container, placement = spec.task.container, spec.task.placement
    assert (container.cap_add, container.cap_drop) == (("NET_ADMIN",), ("ALL",))
    assert (placement.affinity, placement.anti_affinity) == (("shop_db",), ("web",))
    assert (spec.progress_deadline, spec.task.drift, spec.task.stop_after) == (30.0, "replace", 30.0)
    assert (spec.endpoint_mode, spec.on_reconnect) == ("dnsrr", "keep-original")
    assert container.healthcheck == HealthCheck(test=("CMD-SHELL", "true"), start_interval=1.0)
    assert made().on_reconnect == "keep-replacement"
    assert changed(spec, on_reconnect="keep-replacement").on_reconnect == "keep-replacement"
    assert changed(spec, stop_after="0s").on_reconnect == "keep-original"


def test_an_update_without_flags_changes_nothing() -> None:
    spec = made(env=("A=1",), health_cmd="true", limit_cpu="1", ready_tcp="80")
    assert changed(spec) == spec


def test_an_update_keeps_the_pinned_image_unless_another_is_named() -> None:
    container = ContainerSpec(image="hello:1", image_id="sha256:1")
    spec = ServiceSpec(name="web", task=TaskSpec(container=container))
    assert changed(spec, env_add=("A=1",)).task.container.image_id == "sha256:1"
    assert changed(spec, image="hello:1").task.container.image_id == ""


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"env_rm": ("ZONE",)}, "--env-rm: there is no 'ZONE'"),
        ({"constraint_add": ("zone=eu",)}, "'zone=eu' is no constraint"),
        ({"constraint_add": ("node.hostnam==a",)}, "nodes have no 'node.hostnam'"),
        ({"publish_add": ("127.0.0.1:8080:80",)}, "published on every node has no address"),
        ({"publish_add": ("8080:80/sctp",)}, "'8080:80/sctp' is no port"),
        ({"publish_add": ("8010-8000:80",)}, "'8010-8000:80': 8010-8000 ends before it begins"),
        ({"publish_add": ("8000-8010:80-81",)}, "11 ports (8000-8010) published for 2 targets (80-81)"),
        ({"publish_add": ("1-300:1-300",)}, "300 ports in one entry"),
        ({"publish_add": ("127.0.0.1:8000-8010:80",)}, "published on every node has no address"),
        ({"publish_add": ("target=80,published=8010-8000",)}, "published '8010-8000': 8010-8000 ends before it begins"),
        ({"publish_add": ("target=80,published=8000-",)}, "no port and no range of ports"),
        ({"publish_add": ("target=80-81,published=8000-8001",)}, "target '80-81' is no port"),
        ({"publish_add": ("target=80,mode=vip",)}, "mode 'vip' can't be"),
        ({"publish_add": ("target=80,mode=host,local=true",)}, "local anyway"),
        ({"network_add": ("A b",)}, "'A b' can't be a network's name"),
        ({"network_add": ("name=front,alias=a b",)}, "'a b' can't be a name"),
        ({"network_add": ("nam=front",)}, "unknown key 'nam'"),
        ({"network_rm": ("front",)}, "--network-rm: there is no 'front'"),
        ({"publish_add": ("target=99999,mode=host",)}, "target '99999' is no port"),
        ({"mount_add": ("type=nfs,target=/x",)}, "type 'nfs' is not supported"),
        ({"mount_add": ("source=x",)}, "has no absolute target"),
        ({"mount_add": ("type=bind,source=rel,target=/x",)}, "absolute source"),
        ({"mount_add": ("targt=/x",)}, "unknown key 'targt'"),
        ({"mount_add": ("type=tmpfs,target=/x,tmpfs-mode=9",)}, "tmpfs-mode"),
        ({"limit_memory": "lots"}, "--limit-memory: 'lots' is no size"),
        ({"limit_cpu": "-1"}, "--limit-cpu: '-1' is no number of CPUs"),
        ({"restart_condition": "always"}, "--restart-condition: 'always' can't be"),
        ({"on_reconnect": "keep"}, "--on-reconnect: 'keep' can't be"),
        ({"update_max_failure_ratio": "2"}, "'2' is no share"),
        ({"update_parallelism": "x"}, "'x' is no number"),
        ({"ulimit_add": ("nofile=x",)}, "'nofile=x' is no limit"),
        ({"host_add": ("name",)}, "'name' is no host"),
        ({"args": "'unclosed"}, "can't be split"),
        ({"health_interval": "5s"}, "there is no health check to change"),
        ({"label_add": ("=x",)}, "has no name"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused_by_flag(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        changed(made(), **given_)
    assert said in refused.value.message


def test_near_misses_are_named() -> None:
    with pytest.raises(UsageError) as refused:
        parse_constraint("node.hostnam==a", "--constraint")
    assert refused.value.hint == "did you mean 'node.hostname'?"
    with pytest.raises(UsageError) as refused:
        parse_ports("8080:80/x", "--publish")
    assert refused.value.hint == "write --publish 8080:80 or target=80,published=8080"


@given(st.text(max_size=40), st.sampled_from([parse_constraint, parse_mount, parse_ports]))
def test_no_text_does_worse_than_a_usage_error(text: str, parse: Any) -> None:
    with suppress(UsageError):
        parse(text, "--flag")


# the commands


def stored(sequence: int = 7, mode: str = "replicated") -> ServiceView:
    return ServiceView(
        record=ServiceRecord(name="web", target=1, mode=mode),  # type: ignore[arg-type]
        spec=made(env=("A=1",)),
        sequence=sequence,
        desired=1,
    )


def deployed(change: str) -> DeployAnswer:
    return DeployAnswer(
        sequence=9, services=(Deployed(service="web", change=change, revision=2, deploy=2),), warnings=("careful",)
    )


def test_create_sends_the_spec_and_prints_the_name(scripted) -> None:  # type: ignore[no-untyped-def]
    scripted.answer("service.put", deployed("created"))
    ran = scripted.run(
        "service", "create", "-d", "--name", "web", "--replicas", "3", "-e", "A=1", "hello:1", "sh", "-c", "exit 0"
    )
    (request,) = scripted.requests("service.put")
    assert (ran.out, ran.err, ran.code) == ("web\n", "warning: careful\n", 0)
    assert (request.create, request.service.replicas, request.resolve_image) == (True, 3, "always")
    assert request.service.spec.task.container.command == ("sh", "-c", "exit 0")
    assert request.command.startswith("c")


def test_update_is_made_anew_when_somebody_was_faster(scripted) -> None:  # type: ignore[no-untyped-def]
    def put(request: PutService) -> DeployAnswer | MeshError:
        return deployed("updated") if request.expected == 8 else Conflict("it has moved")

    scripted.answer("service.list", ServiceList(services=(stored(7),)))
    scripted.answer("service.inspect", stored(8))
    scripted.answer("service.put", put)
    assert scripted.run("service", "update", "-d", "--env-add", "B=2", "web").code == 0
    assert [request.expected for request in scripted.requests("service.put")] == [7, 8]
    assert scripted.requests("service.put")[1].service.spec.task.container.environment == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", "My Web", "hello:1"), "write it as 'my-web'"),
        (("create", "--name", "web", "--mode", "global", "--replicas", "2", "hello:1"), "--replicas makes no sense"),
        (("create", "hello:1"), "missing option '--name'"),
        (("create", "--name", "web", "--timeout", "soon", "hello:1"), "'soon' is no duration"),
        (("create", "--name", "web", "--replicas", "-1", "hello:1"), "-1 is not in the range"),
        (("update", "web"), "nothing to change"),
        (("scale", "web"), "'web' is not SERVICE=REPLICAS"),
        (("scale", "web=-1"), "'web=-1' is not SERVICE=REPLICAS"),
    ],
)
def test_bad_command_lines_are_refused_before_anybody_is_asked(scripted, arguments, said) -> None:  # type: ignore[no-untyped-def]
    ran = scripted.run("service", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert scripted.asked == []


def test_a_global_service_can_not_be_scaled(scripted) -> None:  # type: ignore[no-untyped-def]
    scripted.answer("service.list", ServiceList(services=(stored(mode="global"),)))
    for arguments in (("scale", "web=2"), ("update", "--replicas", "2", "web")):
        ran = scripted.run("service", *arguments)
        assert (ran.code, "is global" in ran.err) == (2, True)
