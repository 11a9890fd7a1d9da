"""The one way in which lists and objects are printed: --format table|json|yaml|TEMPLATE, -q, --no-trunc.

A listing is a `Listing`: rows of named fields, which of them are columns, and which one -q prints. JSON is one object
a line, as docker prints it; YAML one list.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshctl.format.near import did_you_mean
from meshctl.format.table import fit_to, lay_out, shorten
from meshctl.format.template import Template
from schemas.errors import UsageError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of the table: its header, the field in it, its greatest width (0: any), and a colour for each row."""

    header: str
    field: str
    width: int = 0
    colour: Callable[[Row], str] | None = None
    gives: int = 0
    """Where the table is too wide for the terminal it may be cut to so many characters; 0: never."""


@dataclass(frozen=True)
class Listing:
    """Rows to print. Each row holds at least the columns' fields and `key`, the field that -q prints."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    key: str


@dataclass(frozen=True)
class Style:
    """How the user wants it."""

    form: str = "table"
    quiet: bool = False
    no_trunc: bool = False
    color: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    width: int = 0
    """Characters of a line of the terminal; 0: it is none, and nothing is cut for it."""


def check_form(form: str) -> None:
    """Raises UsageError for what is no format."""
    if form in ("table", "json", "yaml"):
        return
    if "{{" not in form:
        near = did_you_mean(form, ("table", "json", "yaml"))
        raise UsageError(f"--format: '{form}' is no format", hint=near)
    Template(form.removeprefix("table ").strip())


def render_listing(listing: Listing, style: Style) -> str:
    """The text of a listing, without a newline at the end ("" where there is nothing). Raises UsageError."""
    if style.quiet and style.form == "table":
        return "\n".join(str(row[listing.key]) for row in listing.rows)
    if style.form == "json":
        return "\n".join(_json(row) for row in listing.rows)
    if style.form == "yaml":
        return _yaml([dict(row) for row in listing.rows])
    if style.form == "table":
        return _table(listing, style)
    return _templated(listing, style.form)


def render_objects(values: Sequence[Any], style: Style) -> str:
    """The text of `inspect`: a JSON array as docker prints it, YAML, or a template for each. Raises UsageError."""
    if style.form in ("json", "table", ""):
        return json.dumps(list(values), indent=4, ensure_ascii=False)
    if style.form == "yaml":
        return _yaml(list(values))
    template = Template(style.form)
    return "\n".join(template.render(value) for value in values)


def _table(listing: Listing, style: Style) -> str:
    header = [column.header for column in listing.columns]
    cells, colours = [], []
    for row in listing.rows:
        cells.append([_cell(row.get(column.field, ""), column, style) for column in listing.columns])
        colours.append([column.colour(row) if column.colour and style.color else "" for column in listing.columns])
    if style.width and not style.no_trunc:
        cells = fit_to(style.width, header, cells, {i: column.gives for i, column in enumerate(listing.columns)})
    return lay_out(header, cells, colours)


def _cell(value: Any, column: Column, style: Style) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if style.no_trunc or not column.width else shorten(text, column.width)


def _templated(listing: Listing, form: str) -> str:
    tabular = form.startswith("table ")
    template = Template(form.removeprefix("table ").strip() if tabular else form)
    lines = [template.render(row) for row in listing.rows]
    if not tabular:
        return "\n".join(lines)
    header = template.header({column.field: column.header for column in listing.columns})
    return lay_out(header.split("\t"), [_fit(line.split("\t"), header.count("\t") + 1) for line in lines])


def _fit(cells: list[str], count: int) -> list[str]:
    return (cells + [""] * count)[:count]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _yaml(value: Any) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.allow_unicode = True
    out = io.StringIO()
    writer.dump(value, out)
    return out.getvalue().rstrip("\n")
