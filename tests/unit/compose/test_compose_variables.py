"""Variables in values, `.env`, and env files."""

from __future__ import annotations

import pytest

from meshctl.compose.interpolate import BadInterpolation, interpolate
from schemas.errors import ManifestError
from tests.unit.compose.reading import load, service_text

VARIABLES = {"A": "one", "EMPTY": "", "B_2": "two"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("$A ${A} $B_2x ${B_2}x", "one one  twox"),
        ("$$A $$$A $$", "$A $one $"),
        ("${A:-d} ${EMPTY:-d} ${NO:-d}", "one d d"),
        ("${A-d} ${EMPTY-d} ${NO-d}", "one  d"),
        ("${A:+r} ${EMPTY:+r} ${NO:+r}", "r  "),
        ("${A+r} ${EMPTY+r} ${NO+r}", "r r "),
        ("${A:?e} ${EMPTY?e}", "one "),
        ("${NO:-${NO2:-${A}}}", "one"),
        ("${NO:-a${B_2}c$A}", "atwocone"),
        ("${NO:-$$}", "$"),
        ("${A:-${NEVER:?asked}}", "one"),
        ("${NO:-}", ""),
        ("${NO:-http://x:80/?a=b}", "http://x:80/?a=b"),
        ("{{.Task.Slot}} {} }", "{{.Task.Slot}} {} }"),
    ],
)
def test_variables_are_put_in(text: str, want: str) -> None:
    assert interpolate(text, VARIABLES) == want


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NO:?give a tag}", "the variable NO must be set: give a tag"),
        ("${EMPTY:?}", "the variable EMPTY must be set"),
        ("${NO?e}", "must be set: e"),
        ("$", "without a variable's name"),
        ("cost: $5", "without a variable's name"),
        ("${", "without a variable's name"),
        ("${A", "can't follow a variable's name"),
        ("${A:-x", "without its `}`"),
        ("${A!x}", "can't follow a variable's name"),
        ("${NO:-" * 30 + "}" * 30, "nested deeper than 20"),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInterpolation) as caught:
        interpolate(text, VARIABLES)
    assert said in caught.value.args[0]


def test_a_problem_with_a_variable_is_told_with_its_line_and_key() -> None:
    with pytest.raises(ManifestError) as caught:
        load(service_text("user: ${WHO:?say who}\nhostname: a$\ntty: maybe"))
    told = str(caught.value).splitlines()
    assert told[0] == "stack.yaml:4: services.web.user: the variable WHO must be set: say who — set WHO"
    assert told[1].startswith("stack.yaml:5: services.web.hostname: `$` without")
    assert len(told) == 3


def test_an_unset_variable_is_empty_with_one_warning() -> None:
    stack = load(service_text("user: $WHO\nworking_dir: /a$WHO\nlabels: {a: '${WHO:-x}'}"))
    (warning,) = stack.warnings
    assert warning.startswith("stack.yaml:4: services.web.user: the variable WHO is not set and counts as empty — ")
    assert warning.endswith("set it, or write ${WHO:-} if that is meant")


def test_numbers_and_truth_values_come_from_variables() -> None:
    text = service_text("tty: $T\ndeploy: {replicas: $N, resources: {limits: {cpus: '$C'}}}")
    found = load(text, environment={"T": "yes", "N": "3", "C": "0.5"}).services[0]
    assert (found.replicas, found.spec.task.container.tty, found.spec.task.limits.cpus) == (3, True, 0.5)


def test_the_shell_wins_over_the_env_file_beside_the_first_file() -> None:
    files = {"/project/.env": "A=file\nB=file\nC=${A}-c\n"}
    text = service_text("environment: ['X=$A$B$C', A, B]")
    found = load(text, files=files, environment={"A": "shell"}).services[0].spec.task.container.environment
    assert found == {"X": "shellfileshell-c", "A": "shell", "B": "file"}


def test_later_env_files_win_and_environment_wins_over_all() -> None:
    files = {"/project/1.env": "A=1\nB=1\nC=1\nD=1", "/project/sub/2.env": "B=2\nC=2\nSHELL_GIVES"}
    body = "env_file: [1.env, {path: ./sub/2.env}]\nenvironment: {C: '3', D: }"
    found = load(service_text(body), files=files, environment={"SHELL_GIVES": "s"}).services[0].spec.task.container
    assert found.environment == {"A": "1", "B": "2", "C": "3", "SHELL_GIVES": "s"}


def test_an_env_file_is_read_as_people_write_it() -> None:
    text = (
        "\ufeff# comment\r\n\r\nPLAIN=a b # said\nHASH=a#b\nexport E=1\nSPACED = x \nSINGLE='$A \"#' # c\n"
        'DOUBLE="a\\n$A\\"\\$"\nLINES="one\ntwo"\nEMPTY=\nREF=${PLAIN}\nJSON={"a": 1}\nDOTTED.NAME=d\n'
    )
    found = load(service_text("env_file: e"), files={"/project/e": text}, environment={"A": "1"}).services[0]
    assert found.spec.task.container.environment == {
        "PLAIN": "a b", "HASH": "a#b", "E": "1", "SPACED": "x", "SINGLE": '$A "#', "DOUBLE": 'a\n1"$',
        "LINES": "one\ntwo", "EMPTY": "", "REF": "a b", "JSON": '{"a": 1}', "DOTTED.NAME": "d",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nno good\n", 'e:2: "no good" is no KEY=value'),
        ("A='open\n", "e:1: A: a ' that is never closed"),
        ('A="x" y\n', 'e:1: A: "y" after the closing quote'),
        ("A=${B:?}\n", "e:1: A: the variable B must be set"),
        ("A={{.No}}\n", "the placeholder {{.No}} is not known"),
    ],
)
def test_a_bad_env_file_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(service_text("env_file: e"), files={"/project/e": text})
    assert said in str(caught.value)


def test_a_variable_of_the_shell_that_is_no_text_counts_as_not_set() -> None:
    stack = load(service_text("user: x$BYTES\nenvironment: [BYTES]"), environment={"BYTES": "\udcff"})
    assert "the variable BYTES is not set" in stack.warnings[0]
    assert stack.services[0].spec.task.container.environment == {}


def test_variables_can_not_blow_a_file_up() -> None:
    with pytest.raises(ManifestError) as caught:
        load(service_text("labels: {a: '" + "$BIG" * 1000 + "'}"), environment={"BIG": "x" * 100_000})
    assert "larger than 8 MiB" in str(caught.value)
    labels = ", ".join(f"l{n}: '$BIG'" for n in range(100))
    with pytest.raises(ManifestError) as caught:
        load(service_text(f"labels: {{{labels}}}"), environment={"BIG": "x" * 100_000})
    assert "larger than 8 MiB" in str(caught.value)
