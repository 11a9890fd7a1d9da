"""YAML texts: what they mean, and how broken ones are shown."""

from __future__ import annotations

import pytest

from schemas.errors import ManifestError, UsageError
from tests.unit.compose.reading import load, service_text


def refusal(text: str, *more: str, **options: object) -> str:
    """The text of the error."""
    with pytest.raises(ManifestError) as caught:
        load(text, *more, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def container(body: str, **options: object) -> object:
    return load(service_text(body), **options).services[0].spec.task.container


def test_a_tab_is_shown_with_its_line_and_a_caret() -> None:
    told = refusal("services:\n  web:\n\timage: app\n")
    assert told == "stack.yaml:3: not YAML: a tab where spaces belong — indent with spaces\n    →image: app\n    ^"


def test_a_second_colon_is_shown_with_a_caret_under_it() -> None:
    told = refusal("services:\n  web:\n    command: a: b\n")
    assert "stack.yaml:3: not YAML: no `:` may stand here" in told
    line, caret = told.splitlines()[-2:]
    assert line[caret.index("^")] == ":"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "stack.yaml:1: the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "the document is no mapping"),
        ("services: [", "not YAML"),
        ('services: "', "not YAML"),
        ("services: {a: {image: b}}\n---\nservices: {}\n", "stack.yaml:2: a second document"),
        ("services: *x\n", "undefined alias"),
        ("a: &x [*x]\nservices: {}\n", "an alias that holds itself"),
        (
            "services:\n  web: {image: a}\n  web: {image: b}\n",
            "stack.yaml:3: services.web: the key is there twice (first in line 2)",
        ),
        ("services:\n  web:\n    image: a\n    image: b\n", "stack.yaml:4: services.web.image: the key is there twice"),
        ("services: {web: {image: !!python/name:os.system x}}", "is not known"),
        ("services: {web: {image: !mine x}}", 'the YAML tag "!mine" is not known'),
        ("services: {[a]: b}", "a key that is no text"),
        ("services: {web: {image: a, <<: 5}}", "`<<` wants a mapping"),
        ('services: {web: {image: "a\\0b"}}', "a character that text can't have"),
        ('services: {web: {image: "\\ud800"}}', "a character that text can't have"),
        ("services: \x01", "not YAML"),
        ("[" * 5000, "nested too deeply"),
        ("services: " + "{a: " * 100 + "1" + "}" * 100, "nested deeper than 64"),
        (
            "x: &a0 {k: 1}\n" + "".join(f"y{n}: &a{n} {{k: *a{n - 1}}}\n" for n in range(1, 900)),
            "nested deeper than 64",
        ),
    ],
)
def test_what_is_no_sound_yaml_is_refused_with_its_place(text: str, said: str) -> None:
    assert said in refusal(text)


def test_aliases_can_not_blow_a_small_file_up() -> None:
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "more than 200000 values once aliases are expanded" in refusal("\n".join([*lines, "services: {}"]))


def test_extends_can_not_blow_a_small_file_up() -> None:
    base = "services:\n  base: {image: a, labels: {" + ", ".join(f"l{n}: x" for n in range(1000)) + "}}\n"
    assert "values once services are extended" in refusal(
        base + "".join(f"  s{n}: {{extends: base}}\n" for n in range(300))
    )


def test_a_file_above_two_mebibytes_is_refused() -> None:
    assert "more than 2 MiB" in refusal("services: {}\n#" + "x" * 2**21)


def test_numbers_with_colons_and_yes_are_text() -> None:
    found = container(
        "environment: {PORTS: 22:22, ANSWER: yes, WHEN: 2026-11-23, OCTAL: 0755, NONE_: null, FLOAT: 1.10}"
    )
    assert found.environment == {
        "PORTS": "22:22",
        "ANSWER": "yes",
        "WHEN": "2026-11-23",
        "OCTAL": "0755",
        "FLOAT": "1.10",
    }


@pytest.mark.parametrize("yes", ["true", "True", "yes", "y", "on", "ON", '"true"', "'yes'"])
def test_compose_truth_values_are_understood_where_one_belongs(yes: str) -> None:
    assert container(f"tty: {yes}").tty
    assert "is no truth value" in refusal(service_text("tty: 1"))


def test_anchors_aliases_and_merge_keys_work() -> None:
    text = """
x-base: &base
  image: app
  environment: &env {A: "1", B: "2"}
x-more: &more {user: me, image: other}
services:
  web:
    <<: [*base, *more]
    environment:
      <<: *env
      B: "3"
"""
    found = load(text).services[0].spec.task.container
    assert (found.image, found.user) == ("app", "me")
    assert found.environment == {"B": "3", "A": "1"}


def test_a_yaml_one_one_directive_changes_nothing() -> None:
    found = load("%YAML 1.1\n---\n" + service_text("environment: {A: 22:22, B: yes}")).services[0]
    assert found.spec.task.container.environment == {"A": "22:22", "B": "yes"}


def test_notes_of_the_user_are_ignored_anywhere() -> None:
    stack = load(
        """
x-top: $5 and ${
services:
  web:
    image: app
    x-note: costs $5
    healthcheck: {test: [CMD, a], x-why: because}
    deploy: {x-team: web, resources: {x-guess: 1}}
"""
    )
    assert stack.warnings == ()


def test_all_problems_are_told_at_once_and_bounded() -> None:
    body = "imag: a\nprots: []\ntty: maybe\ndeploy: {replica: 3, mode: globl}\n"
    told = refusal(service_text(body)).splitlines()
    assert len(told) == 5
    assert any('"imag"' in line and "did you mean `image`?" in line for line in told)
    assert any('"prots"' in line and "`ports`" in line for line in told)
    many = refusal(service_text("\n".join(f"key{n}x: 1" for n in range(100)))).splitlines()
    assert len(many) == 26
    assert many[-1] == "... and 75 more problems"


def test_problems_of_several_files_name_their_file() -> None:
    told = refusal(service_text("usr: me"), "services:\n  web:\n    prots: []\n")
    assert "stack.yaml:4: services.web.usr" in told
    assert "more1.yaml:3: services.web.prots" in told


def test_an_unknown_key_that_belongs_elsewhere_is_shown_the_way() -> None:
    assert "it belongs there: `<service>.deploy.replicas`" in refusal(service_text("replicas: 3"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("deploy: {replicas: 1e9}", '"1e9" is no whole number — write a number from 0 to 20000'),
        ("deploy: {replicas: -1}", "-1 is out of range"),
        ("deploy: {replicas: 2.5}", '"2.5" is no whole number'),
        ("deploy: {replicas: two}", '"two" is no whole number'),
        ("deploy: {replicas: true}", '"true" is no whole number'),
        ("deploy: {replicas: 1000000000}", "is out of range"),
        ("deploy: {replicas: 010}", "means octal to some"),
        ("deploy: {replicas: [1]}", "a list where text belongs"),
        ("deploy: {mode: global, replicas: 2}", "a global service has no replicas"),
        ("deploy: [a]", "a list where a mapping belongs"),
        ("deploy: {resources: 5}", "a number where a mapping belongs"),
        ("deploy: {resources: {limits: {memory: 1m}}}", "write at least 6291456 bytes"),
        ("deploy: {resources: {limits: {memory: lots}}}", '"lots" is no size'),
        ("deploy: {resources: {limits: {cpus: -1}}}", "-1 is out of range"),
        ("deploy: {resources: {limits: {cpus: .inf}}}", "is no number"),
        ("deploy: {resources: {limits: {cpus: 1}, reservations: {cpus: 2}}}", "above the limit of 1"),
        ("deploy: {resources: {limits: {memory: 1g}, reservations: {memory: 2g}}}", "above the limit"),
        ("cpus: 2\ndeploy: {resources: {limits: {cpus: 1}}}", "it differs from `deploy.resources.limits.cpus`"),
        ("mem_limit: 2g\ndeploy: {resources: {limits: {memory: 1g}}}", "it differs from `deploy.resources"),
        ("deploy: {placement: {constraints: [node.role = manager]}}", "write `node.role == manager`"),
        ("deploy: {placement: {constraints: [node.ip == here]}}", '"here" is no address'),
        ("deploy: {placement: {constraints: [node.role == boss]}}", '"boss" is no role'),
        ("deploy: {placement: {constraints: [node.lables.a == b]}}", '"node.lables.a" is nothing that nodes have'),
        ("deploy: {placement: {constraints: ['node.id ==']}}", "compares with nothing"),
        ("deploy: {placement: {constraints: [node.id > 3]}}", "is no constraint"),
        ("deploy: {placement: {constraints: node.id == a}}", "text where a list belongs"),
        ("deploy: {placement: {preferences: [node.labels.a]}}", "text where a mapping belongs"),
        ("deploy: {placement: {preferences: [null]}}", "an empty preference"),
        ("deploy: {mode: global, placement: {max_replicas_per_node: 1}}", "one task on each node"),
        ("deploy: {update_config: {failure_action: explode}}", "use continue, pause or rollback"),
        ("deploy: {rollback_config: {failure_action: rollback}}", "use continue or pause"),
        ("deploy: {restart_policy: {delay: 5}}", "write 5s for seconds"),
        ("stop_grace_period: soon", '"soon" is no duration'),
        ("restart: sometimes", '"sometimes" is not known'),
        ("restart: always:3", '"always:3" is not known'),
        ("healthcheck: {test: [CMD]}", "CMD with 0 words after it"),
        ("image: App/Web", "write app/web"),
        ("ports: [{published: 80, mode: host}]", "a port without `target`"),
        ("ports: [{target: 0, mode: host}]", "0 is out of range"),
        ("ports: ['127.0.0.1:8080:80']", "a port that is published on every node has no address"),
        ("ports: ['8000-8010:80-91/udp']", "11 ports (8000-8010) published for 12 targets (80-91)"),
        ("ports: ['8000:80-81']", "give as many as targets, or one target for a free one of the range"),
        ("ports: ['8010-8000:80']", '"8010-8000:80": 8010-8000 ends before it begins — write 8000-8010'),
        ("ports: ['1-300:1-300']", "300 ports in one entry, which may have 256 — publish them by several entries"),
        ("ports: ['65000-70000:80']", "port 70000 is out of range — write a number from 1 to 65535"),
        ("ports: ['0:80']", "port 0 is out of range"),
        ("ports: ['-80:80']", '"-80:80" is no port'),
        ("ports: ['127.0.0.1:8000-8010:80']", "has no address — remove it, or publish with `mode: host`"),
        ("ports: [{target: 80, published: 8010-8000}]", '"8010-8000": 8010-8000 ends before it begins'),
        ("ports: [{target: 80, published: 8000-80x}]", '"8000-80x": no port and no range of ports'),
        ("ports: [{target: 80, published: -5}]", "-5 is out of range"),
        ("ports: ['8000-8010:80', {target: 80, published: 8000-8010}]", "port 8000-8010/tcp is published twice"),
        ("ports: ['8080:80', {target: 81, published: 8080}]", "published twice"),
        ("networks: [nosuch]", "add `nosuch:` under the top-level `networks:`"),
        ("networks: [default, default]\nports: [80]", "the service is on network"),
        ("network_mode: host\nnetworks: []", "exclude each other"),
        ("network_mode: bridge\nports: [80]", "publish it with `mode: host`"),
        ("ports: ['what']", '"what" is no port'),
        ("ports: {a: b}", "a mapping where a list belongs"),
        ("ports: [{target: 80, published: 80, mode: host}, {target: 81, published: 80, mode: host}]", "twice"),
        ("network_mode: host\nports: [{target: 80, mode: host}]", "nothing is published with `network_mode: host`"),
        ("volumes: ['data:/data']", "add `data:` under the top-level `volumes:`"),
        ("volumes: ['conf/x:/data']", "write ./conf/x for a path"),
        ("volumes: ['./a:data']", "is no place in a container"),
        ("volumes: ['./a:/a', './b:/a']", '"/a" is mounted twice'),
        ("volumes: ['C:\\\\x:/a']", "a Windows path"),
        ("volumes: ['./a:/a:fast']", 'the option "fast" is not known'),
        ("volumes: ['~bob/a:/a']", "no home is known"),
        ("volumes: [{target: /a}]", "a mount without `type`"),
        ("volumes: [{type: bind, source: /a, target: /a, tmpfs: {size: 1}}]", "belongs to mounts of type tmpfs"),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 700}}]", "write 0o700"),
        ("env_file: missing.env", 'there is no file "missing.env"'),
        ("environment: ['=x']", "is no variable's name"),
        ("environment: {A: [1]}", "a list where text belongs"),
        ("environment: text", "text where a mapping belongs"),
        ("environment: {A: '{{.Task.Slotte}}'}", "the placeholder {{.Task.Slotte}} is not known"),
        ("hostname: '{{.Foo}}'", "the placeholder {{.Foo}} is not known"),
        ("command: serve --id={{.Task.Slot}}", "placeholders are for hostname, environment and volumes"),
        ("labels: {mesh.task: x}", "which is Dockmesh's"),
        ("ulimits: {nofile: {soft: 10}}", "a limit without `hard`"),
        ("ulimits: {nofile: {soft: 10, hard: 5}}", "the soft limit 10 is above the hard limit 5"),
        ("devices: [a]", '"a" is no device'),
        ("dns: [dns.example]", '"dns.example" is no address'),
        ("extra_hosts: [db]", '"" is no address'),
        ("security_opt: ['seccomp=./p.json']", "file is not read"),
        ("command: 'a \"b'", "can't be split into words"),
        ("command: [a, null]", "nothing where text belongs"),
        ("extends: nobody", 'there is no service "nobody"'),
        ("extends: web", "in a circle: web -> web"),
        ("x-mesh: {restrat: {}}", "did you mean `restart`?"),
        ("x-mesh: {on_disconnect: stop}", "write keep, or {stop_after: 30s}"),
        ("x-mesh: {on_disconnect: {stop_after: 5s}}", "write at least 10s"),
        ("x-mesh: {on_disconnect: {}}", "write at least 10s"),
        ("x-mesh: {on_reconnect: keep}", "keep-original"),
        (
            "x-mesh: {on_disconnect: {stop_after: 1m}}\ndeploy: {update_config: {order: start-first}}",
            "start-first runs two tasks of a slot beside each other",
        ),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_to_write(body: str, said: str) -> None:
    image = "" if body.startswith("image") else "image: app\n"
    told = refusal(service_text(body, image))
    assert said in told
    assert told.startswith("stack.yaml:")
    assert " — " in told


def test_a_command_template_of_another_tool_is_left_alone() -> None:
    assert container("command: docker ps --format {{.Names}}").command[-1] == "{{.Names}}"


def test_memory_and_restart_have_their_older_spellings() -> None:
    task = load(service_text("restart: on-failure:3\nmem_limit: 0\n")).services[0].spec.task
    assert (task.restart.condition, task.restart.max_attempts, task.limits.memory) == ("on-failure", 3, 0)
    assert load(service_text("restart: unless-stopped")).services[0].spec.task.restart.condition == "any"
    both = load(service_text("restart: always\ndeploy: {restart_policy: {condition: none}}"))
    assert both.services[0].spec.task.restart.condition == "none"
    assert "`restart` has no effect beside `deploy.restart_policy`" in both.warnings[0]


def test_a_long_first_delay_raises_the_longest() -> None:
    restart = load(service_text("deploy: {restart_policy: {delay: 5m}}")).services[0].spec.task.restart
    assert (restart.delay, restart.max_delay) == (300.0, 300.0)


@pytest.mark.parametrize(
    ("stack", "text", "said"),
    [
        ("My App", service_text(""), "\"My App\" can't be a stack's name — write my-app"),
        (None, "name: Shop\n" + service_text(""), "stack.yaml:1: name: \"Shop\" can't be a stack's name — write shop"),
        (None, service_text(""), "the stack has no name — give it on the command line, or as `name:`"),
        ("a", "services: {Web.1: {image: a}}", "services.Web.1: \"Web.1\" can't be a service's name — write web-1"),
        ("a" * 40, "services: {" + "b" * 40 + ": {image: a}}", "has 81 characters, more than 63"),
    ],
)
def test_a_bad_name_is_refused_with_the_spelling_to_use(stack: str | None, text: str, said: str) -> None:
    assert said in refusal(text, stack=stack)


def test_the_command_lines_name_wins_over_the_files() -> None:
    assert load("name: other\n" + service_text("")).name == "demo"
    assert load("name: other\n" + service_text(""), stack=None).services[0].spec.name == "other_web"


def test_a_service_above_64_kib_is_refused_with_what_is_big() -> None:
    told = refusal(service_text(f"labels: {{a: b}}\nenvironment: {{BIG: {'x' * 70_000}}}"))
    assert "services.web: the service has 70" in told
    assert "more than 65536 (environment 70010 bytes, " in told


def test_services_with_profiles_are_left_out_unless_enabled() -> None:
    text = service_text("", top="  debug: {build: ., profiles: [debug]}\n  all: {image: a, profiles: [x, y]}\n")
    names = [service.spec.name for service in load(text, profiles=["y"]).services]
    assert names == ["demo_web", "demo_all"]
    assert "no service is left" in refusal("services: {a: {image: a, profiles: [x]}}")
    assert "services.debug: a service without `image`" in refusal(text, profiles=["*"])


@pytest.mark.parametrize("text", ["services:", "services: {}", "services: []", "services: 5", "services: {web: }"])
def test_a_file_without_services_says_so(text: str) -> None:
    assert refusal(text).startswith("stack.yaml:1: ")
    assert "service" in refusal(text)


def test_no_file_at_all_is_a_usage_error() -> None:
    from meshctl.compose.load import load_stack

    with pytest.raises(UsageError):
        load_stack([])
