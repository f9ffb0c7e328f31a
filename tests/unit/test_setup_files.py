"""What a set-up reads: every package and jar is pinned by hash, and no file says where it came from."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import children
from tests.paths import ROOT
from tocsin.local_kafka.jars import KAFKA_VERSION, locked_jars

FILES = ("runtime", "dev", "bench", "peers")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def _entries(text: str) -> list[str]:
    """The requirements of a file, one a string, continued lines joined and comments gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def _problems(text: str) -> list[str]:
    """What keeps a requirements file from being pinned by hash and free of addresses."""
    found = []
    if "://" in text or re.search(r"(?m)^\s*-(?!-hash=)", text):
        found.append("an address or an option")
    for entry in _entries(text):
        requirement, *_ = entry.split(" --hash")
        if not re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( ; .*)?", requirement.strip()):
            found.append(f"not pinned: {requirement.strip()}")
        if not HASH.search(entry) or HASH.sub("", entry.removeprefix(requirement)).strip():
            found.append(f"no good hash: {requirement.strip()}")
    return found


def _read(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def _pins(name: str) -> set[str]:
    return {entry.split(" --hash")[0].strip() for entry in _entries(_read(name))}


def _names(name: str) -> set[str]:
    return {canonicalize_name(pin.partition("==")[0]) for pin in _pins(name)}


@pytest.mark.parametrize("name", FILES)
def test_requirements_are_pinned_by_hash_without_addresses(name: str) -> None:
    assert len(_pins(name)) > 5
    assert _problems(_read(name)) == []


@pytest.mark.parametrize(
    "text",
    [
        "six==1.17.0\n",
        "six>=1.17.0 \\\n    --hash=sha256:" + "0" * 64,
        "six==1.17.0 \\\n    --hash=md5:" + "0" * 32,
        "six @ https://example.invalid/six.whl \\\n    --hash=sha256:" + "0" * 64,
        "--find-links wheels\nsix==1.17.0 \\\n    --hash=sha256:" + "0" * 64,
    ],
)
def test_the_check_sees_a_bad_line(text: str) -> None:
    assert _problems(text)


def test_requirements_cover_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    dev = [*project["project"]["dependencies"], *groups["test"], *groups["lint"], *groups["build"]]
    for wanted, name in (
        (project["project"]["dependencies"], "runtime"),
        (dev, "dev"),
        (groups["bench"], "bench"),
        (groups["peers"], "peers"),
    ):
        missing = {canonicalize_name(Requirement(item).name) for item in wanted} - _names(name)
        assert not missing, f"run make lock: {name}.txt lacks {missing}"


def test_runtime_is_a_part_of_dev() -> None:
    assert _pins("runtime") <= _pins("dev")


def test_peers_stay_out_of_the_product() -> None:
    assert "quixstreams" in _names("peers")
    assert "quixstreams" not in _names("runtime") | _names("dev") | _names("bench")


def test_jars_are_of_one_kafka_and_can_log() -> None:
    jars = locked_jars()
    kafka = {jar.version for jar in jars if jar.group == "org.apache.kafka"}
    assert kafka == {KAFKA_VERSION}
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= {jar.artifact for jar in jars}
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in jars)


QUIETLY = ["sh", str(ROOT / "requirements" / "quietly.sh")]


def test_a_step_of_the_set_up_says_how_far_it_is_and_keeps_the_rest_for_the_log(tmp_path: Path) -> None:
    log, enough = tmp_path / "log", tmp_path / "enough"
    script = f"echo Collecting a; echo Collecting b; until [ -e {enough} ]; do sleep 0.1; done; echo done >&2"
    step = children.start(
        [*QUIETLY, str(log), "2/3  Packages", "5", "sh", "-c", script],
        env=os.environ | {"EVERY_S": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert step.stdout is not None
    assert step.stdout.readline() == "    2/3  Packages\n"
    # On a busy machine it may say how far it is before the step has said anything.
    while (line := step.stdout.readline()) and re.fullmatch(r" +\d+ s: [01] of 5 fetched\n", line):
        pass
    assert re.fullmatch(r" +\d+ s: 2 of 5 fetched\n", line)
    enough.touch()
    rest = step.stdout.read()
    assert step.wait(60) == 0
    assert "Collecting" not in rest
    assert log.read_text() == "== 2/3  Packages\nCollecting a\nCollecting b\ndone\n"


def test_a_step_of_the_set_up_that_fails_shows_the_end_of_the_log_and_names_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "for i in $(seq 30); do echo line $i; done; echo the fault >&2; exit 3"
    ended = children.run(
        [*QUIETLY, str(log), "1/3  Packages", "0", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 3
    assert ended.stdout == "    1/3  Packages\n"
    said = ended.stderr.splitlines()
    assert said[0] == "==> This step failed: 1/3  Packages"
    assert said[-2:-1] == ["    the fault"]
    assert "    line 30" in said
    assert "    line 1" not in said
    assert f"is in {log}" in said[-1]


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[0] == "#!/usr/bin/env bash"
    assert "make test" in script.read_text(encoding="utf-8")
