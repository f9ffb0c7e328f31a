"""What a package index shows of the wheel: its metadata, as the build backend makes them."""

from __future__ import annotations

import email
import re
import sys
import tomllib
import zipfile
from email.message import Message

import pytest
from trove_classifiers import classifiers

import streams
from tests import children
from tests.paths import ROOT

_BOUND_S = 120


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = children.run(command, cwd=ROOT, capture_output=True, timeout=_BOUND_S)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def description(metadata: Message) -> str:
    body = metadata.get_payload()
    assert isinstance(body, str)
    return body


def test_the_version_is_that_of_the_one_place_that_has_it(metadata: Message) -> None:
    assert metadata["Version"] == streams.__version__
    # Who names it otherwise is held to it: by this, by test_image.py, and by the documents' tests.
    for path in (ROOT / "deploy" / "README.md", ROOT / "deploy" / "image" / "Containerfile"):
        named = re.findall(
            r"(?:tocsin:|newTag: \"|VERSION=)(\d+\.\d+\.\d+)", path.read_text(encoding="utf-8")
        )
        assert set(named) == {streams.__version__}, path
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"] == {"path": "streams/__init__.py"}


def test_classifiers_are_known_and_name_every_python_that_it_takes(metadata: Message) -> None:
    given = metadata.get_all("Classifier") or []
    assert set(given) <= set(classifiers)
    versions = [each.rpartition(" ")[2] for each in given if re.search(r"Python :: 3\.\d+$", each)]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert metadata["Requires-Python"] == "<3.15,>=3.11"


def test_the_long_description_needs_nothing_that_only_a_checkout_has(metadata: Message) -> None:
    text = description(metadata)
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert "![" not in text
    assert not re.search(r"\bmake (demo|test|setup)\b", text)


def test_the_long_description_has_its_parts_once_and_in_order(metadata: Message) -> None:
    heads = re.findall(r"(?m)^## (.*)$", description(metadata))
    assert heads == ["Try it", "The way of a notification", "Publish", "Run", "Where it comes from"]
    assert description(metadata).strip().startswith("# Tocsin\n")
    assert description(metadata).count("```") % 2 == 0
