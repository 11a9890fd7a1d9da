"""Images made without an engine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.archive import write_archive
from lab.debian import closure, dependencies, extract
from lab.images import DEFINITIONS, Definition, known, merge_usr
from schemas.wire import decode

CONFIG = {"Cmd": ["/bin/true"]}


def make_root(folder: Path, *, at: int) -> Path:
    (folder / "bin").mkdir(parents=True)
    for name in ("b", "a"):
        (folder / "bin" / name).write_text(name)
        os.utime(folder / "bin" / name, (at, at))
    (folder / "bin" / "a").chmod(0o755)
    (folder / "sh").symlink_to("bin/a")
    return folder


def test_the_same_files_give_the_same_bytes_whenever_and_wherever_they_were_made(tmp_path: Path) -> None:
    digests = []
    for number in (1, 2):
        root = make_root(tmp_path / str(number), at=number * 1000)
        digests.append(write_archive(tmp_path / f"{number}.tar", {"x:1": CONFIG}, root, "amd64"))
    assert digests[0] == digests[1]
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_the_digest_told_is_that_of_the_config_and_the_config_names_the_layer(tmp_path: Path) -> None:
    root = make_root(tmp_path / "r", at=1)
    digest = write_archive(tmp_path / "i.tar", {"x:1": CONFIG}, root, "arm64")["x:1"]
    with tarfile.open(tmp_path / "i.tar") as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
        content = {name: file.read() for name, file in files.items() if file}
    manifest = json.loads(content["manifest.json"])[0]
    image = json.loads(content[manifest["Config"]])
    assert "sha256:" + hashlib.sha256(content[manifest["Config"]]).hexdigest() == digest
    assert image["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(content[manifest["Layers"][0]]).hexdigest()]
    assert image["architecture"] == "arm64"
    assert manifest["RepoTags"] == ["x:1"]


def test_of_alternatives_the_first_is_taken_and_of_virtual_packages_none() -> None:
    text = "a\n  Depends: b\n |Depends: c\n  Depends: d\n  PreDepends: e:any\n  Depends: <virtual>\n    f\nb\n"
    assert dependencies(text) == {"a": ["b", "c", "e"], "b": []}


def test_what_only_a_left_out_package_needs_is_left_out_too() -> None:
    needs = {"a": ["b", "c"], "b": ["d"], "c": ["a"]}
    assert closure(["a"], {"b"}, needs) == ("a", "c")
    assert closure(["a"], (), needs) == ("a", "b", "c", "d")


def test_every_definition_can_be_read_and_has_a_tag_of_its_own() -> None:
    found = [decode((DEFINITIONS / name / "image.json").read_bytes(), Definition) for name in known()]
    tags = [tag for definition in found for tag in definition.images]
    assert len(set(tags)) == len(tags) >= 7


def test_images_of_the_same_files_share_their_layer_and_differ_in_what_they_say(tmp_path: Path) -> None:
    definition = Definition(tag="x:1", packages=(), config=CONFIG, also={"y:1": {"Cmd": ["/bin/false"]}})
    digests = write_archive(tmp_path / "i.tar", definition.images, make_root(tmp_path / "r", at=1), "amd64")
    with tarfile.open(tmp_path / "i.tar") as archive:
        entries = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert [entry["RepoTags"] for entry in entries] == [["x:1"], ["y:1"]]
    assert entries[0]["Layers"] == entries[1]["Layers"]
    assert digests["x:1"] != digests["y:1"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages are made by dpkg-deb")
@pytest.mark.parametrize("place", ["bin", "usr/bin"])
def test_a_program_is_in_bin_wherever_its_package_has_it(place: str, tmp_path: Path) -> None:
    (tmp_path / "made" / "DEBIAN").mkdir(parents=True)
    (tmp_path / "made" / "DEBIAN" / "control").write_text(
        "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n"
    )
    (tmp_path / "made" / place).mkdir(parents=True)
    (tmp_path / "made" / place / "busybox").write_text("program")
    subprocess.run(["dpkg-deb", "--build", str(tmp_path / "made"), str(tmp_path / "tool.deb")], check=True)
    root = tmp_path / "root"
    merge_usr(root)
    extract(tmp_path / "tool.deb", root)
    assert (root / "bin" / "busybox").read_text() == (root / "usr" / "bin" / "busybox").read_text() == "program"
    assert (root / "bin").is_symlink()
