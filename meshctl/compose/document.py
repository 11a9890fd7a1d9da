"""docs/COMPOSE.md, made from the list of keys: `python -m meshctl.compose.document > docs/COMPOSE.md`."""

from __future__ import annotations

import sys

from meshctl.compose.keys import KEYS, Key

_INTRO = """\
# Compose files

`meshctl stack deploy -c compose.yaml NAME` takes a Compose file as it is. Each key has one of three outcomes:
**honoured**, **no effect** (one printed warning), or **refused** with file, line, key and what to do instead. There is
no fourth: nothing is dropped in silence. `meshctl stack config` prints what was understood, in long forms.

    compose.yaml:7: services.web.scale: `scale` is not supported — use `deploy.replicas`

All problems of all files are told at once (the first 25 of them).

<!-- This file is made from meshctl/compose/keys.py: python -m meshctl.compose.document > docs/COMPOSE.md -->

## Reading

- **YAML 1.2**: `22:22` is text, anchors, aliases and merge keys (`<<`) work, a key may stand only once. Where a truth
  value belongs, `true/false`, `yes/no`, `y/n` and `on/off` are understood; elsewhere `yes` and `no` are text, so
  `restart: no` is fine without quotes. Values are passed on as they were typed: `VERSION: 1.10` is `1.10`, not `1.1`.
- **Variables**: `$V`, `${V}`, `${V:-default}`, `${V-default}`, `${V:?error}`, `${V?error}`, `${V:+other}`,
  `${V+other}`, one inside the other; `$$` is a dollar sign. Values come from the shell, then from `.env` beside the
  first file. A variable that is set nowhere counts as empty, with a warning. Keys and `x-` extensions are left alone.
- **Several files** (`-c a.yaml -c b.yaml`, `-c -` for standard input) are merged by Compose's rules: mappings are
  merged; `command`, `entrypoint` and a health check's `test` are replaced; `environment`, `labels` and their like are
  merged by name; `volumes` and `devices` by target, `ports` by what they publish; other lists are joined without
  doubles. `!override` replaces, `!reset` takes away.
- **`extends`** names a service of the same file. **`profiles`**: a service that has some is left out unless
  `--profile` enables one of them (`'*'` enables all). **`x-` keys** are ignored anywhere; `x-mesh` is Dockmesh's own.
- **Placeholders** `{{.Service.Name}}`, `{{.Service.ID}}`, `{{.Service.Labels.<name>}}`, `{{.Node.Hostname}}`,
  `{{.Node.ID}}`, `{{.Node.Platform.OS}}`, `{{.Node.Platform.Architecture}}`, `{{.Task.ID}}`, `{{.Task.Name}}` and
  `{{.Task.Slot}}` are filled in on the node, in `hostname`, `environment` and mounts; elsewhere, and with unknown names
  there, they are refused.
- **Constraints** compare `node.id`, `node.hostname`, `node.role`, `node.ip`, `node.platform.os`, `node.platform.arch`,
  `node.labels.*` and `engine.labels.*` by `==` and `!=`. `node.role == manager` holds where a controller runs.
- **Durations** are `1m30s`, `500ms`, `1.5h`; **sizes** `512k`, `64mb`, `1.5g` in powers of 1024.
- **Names** of stacks and services are lower-case letters, digits, `-` and `_`, begin and end with a letter or digit,
  and have at most 63 characters as `<stack>_<service>`; another name is refused with the spelling to use.
- **Limits**: 2 MiB a file, 200,000 values after aliases, 64 levels, 64 KiB a service, 20,000 replicas.

## Every key

`*` is any name, `[]` an item of a list. A key that is in no row is refused with the nearest one that is.

| key | outcome | |
|---|---|---|
"""


def document() -> str:
    """The text of docs/COMPOSE.md."""
    return _INTRO + "".join(_row(key) for key in sorted(KEYS, key=_order))


def _order(key: Key) -> tuple[bool, str]:
    """The document's own keys first, then those of services."""
    return (key.path.startswith("services.*."), key.path)


def _row(key: Key) -> str:
    name, _, rest = key.path.partition(" (") if " (" in key.path else (key.path, "", "")
    name, sign, value = name.partition("=")
    shown = f"`{name}{': ' + value if sign else ''}`" + (f" ({rest}" if rest else "")
    return f"| {shown} | {key.outcome.value} | {key.note.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    sys.stdout.write(document())
