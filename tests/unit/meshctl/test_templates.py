"""docker's --format templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.format.output import check_form
from meshctl.format.template import Template
from schemas.errors import UsageError

VALUE = {
    "Name": "web",
    "Labels": {"zone": "eu"},
    "Ports": [80, 443],
    "spec": {"stop_grace": 10.0, "init": None, "tty": True},
}


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("{{.Name}}", "web"),
        ("{{ .Name }}", "web"),
        ("a{{.Name}}\\tb", "aweb\tb"),
        ("{{json .Labels}}", '{"zone":"eu"}'),
        ("{{json .Name}}", '"web"'),
        ("{{upper .Name}}", "WEB"),
        ("{{.Name | upper}}", "WEB"),
        ("{{len .Ports}}", "2"),
        ('{{join .Ports ","}}', "80,443"),
        ('{{index .Labels "zone"}}', "eu"),
        ("{{index .Ports 1}}", "443"),
        ("{{.Spec.StopGrace}}", "10.0"),
        ("{{.spec.stop_grace}}", "10.0"),
        ("{{.Spec.Init}}", "<no value>"),
        ("{{.Spec.TTY}}", "true"),
        ("{{.Labels}}", '{"zone":"eu"}'),
    ],
)
def test_what_people_write_works(text: str, out: str) -> None:
    assert Template(text).render(VALUE) == out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{.Nme}}", "no field '.Nme'"),
        ("{{.Name.Inner}}", "'Inner' has nothing to be taken from"),
        ("{{range .Ports}}", "'range' is not understood"),
        ("{{.Name", "unbalanced braces"),
        ("{{}}", "empty action"),
        ("{{foo .Name}}", "'foo'"),
        ("{{upper}}", "upper can't be used"),
        ('{{index .Ports "x"}}', "index can't be used"),
        ("{{len .Spec.Init}}", "len can't be used"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Template(text).render(VALUE)
    assert said in refused.value.message


@given(st.text(alphabet="{}.| \"'`nNaAme\\tjs0", max_size=30))
def test_no_template_ends_in_anything_but_text_or_a_usage_error(text: str) -> None:
    try:
        assert isinstance(Template(text).render(VALUE), str)
    except UsageError as error:
        assert error.message.startswith("--format:")  # noqa: PT017


def test_a_format_that_is_none_names_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        check_form("jsn")
    assert refused.value.hint == "did you mean 'json'?"
    for form in ("table", "json", "yaml", "{{.Name}}", "table {{.Name}}\\t{{.Image}}"):
        check_form(form)
