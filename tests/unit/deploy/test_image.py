"""The Containerfile, checked as text: nothing here can build it."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import streams
from tests.paths import ROOT

IMAGE = ROOT / "deploy" / "image"
CONTAINERFILE = IMAGE / "Containerfile"

Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Instructions with their arguments, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


def all_instructions() -> list[Instruction]:
    """Those of the Containerfile."""
    return instructions(CONTAINERFILE.read_text(encoding="utf-8"))


def last_stage(found: list[Instruction]) -> list[Instruction]:
    """Those after the last FROM."""
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def faults(found: list[Instruction]) -> list[str]:
    """What a Containerfile has against our rules; empty is good."""
    bad = []
    arguments = dict(rest.split("=", 1) for word, rest in found if word == "ARG" and "=" in rest)
    for word, rest in found:
        if word == "FROM":
            image = re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match[1], ""), rest.split()[0])
            if ":" not in image or image.endswith(":latest"):
                bad.append("base image without a version")
        if word == "ADD":
            bad.append("ADD")
        installs = word == "RUN" and re.search(r"\bpip\b.*\b(install|wheel)\b", rest)
        exact = "--no-deps" in rest and ("--require-hashes" in rest or "--no-index" in rest)
        if installs and not exact:
            bad.append("package without a hash")
    final = last_stage(found)
    users = [rest for word, rest in final if word == "USER"]
    if not users or users[-1] != "10001:10001":
        bad.append("user")
    entries = [(word, rest) for word, rest in final if word in ("ENTRYPOINT", "CMD")]
    try:
        # Any command of tocsin takes the place of CMD.
        if [(word, json.loads(rest)) for word, rest in entries] != [
            ("ENTRYPOINT", ["tocsin"]),
            ("CMD", ["worker"]),
        ]:
            bad.append("entry point")
    except json.JSONDecodeError:
        bad.append("shell form")
    made = re.findall(r"install --directory ([-\w ]+) /var/lib/tocsin", " ".join(rest for _, rest in final))
    if [each.split() for each in made] != [["--owner", "10001", "--group", "0", "--mode", "0770"]]:
        bad.append("data folder")
    return bad


def test_the_containerfile_keeps_our_rules() -> None:
    assert faults(all_instructions()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("PYTHON_IMAGE=python:3.12-slim", "PYTHON_IMAGE=python:latest", "base image without a version"),
        ("PYTHON_IMAGE=python:3.12-slim", "PYTHON_IMAGE=python", "base image without a version"),
        ("USER 10001:10001", "USER root", "user"),
        ("USER 10001:10001\n", "", "user"),
        ('ENTRYPOINT ["tocsin"]', "ENTRYPOINT tocsin", "shell form"),
        ('ENTRYPOINT ["tocsin"]', 'ENTRYPOINT ["tocsin", "worker"]', "entry point"),
        ('CMD ["worker"]', 'CMD ["sh", "-c", "tocsin worker"]', "entry point"),
        ("--group 0 --mode 0770", "--group 10001 --mode 0770", "data folder"),
        ("--group 0 --mode 0770", "--group 0 --mode 0750", "data folder"),
        ("--no-deps --require-hashes", "--require-hashes", "package without a hash"),
        (" --require-hashes", "", "package without a hash"),
        ("COPY streams streams", "ADD streams streams", "ADD"),
    ],
)
def test_the_check_of_the_containerfile_sees_each_fault(old: str, new: str, fault: str) -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8")
    assert old in text
    assert set(faults(instructions(text.replace(old, new)))) == {fault}


def copied_from_the_repository() -> list[str]:
    """Sources of every COPY that does not come from another stage."""
    copies = [rest.split() for word, rest in all_instructions() if word == "COPY"]
    return [source for *sources, _ in copies if not sources[0].startswith("--from=") for source in sources]


def test_everything_that_is_copied_exists_and_reaches_the_build() -> None:
    copied = set(copied_from_the_repository())
    assert copied >= {"tocsin", "streams", "tables", "agents", "requirements/runtime.txt"}
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    lines = (IMAGE / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied


def test_stages_that_are_copied_from_are_stages_that_are_there() -> None:
    stages = {
        rest.rsplit(" AS ", 1)[1] for word, rest in all_instructions() if word == "FROM" and " AS " in rest
    }
    used = {match[1] for _, rest in all_instructions() if (match := re.match(r"--from=(\S+)", rest))}
    assert used == stages


def test_the_lock_file_pins_the_build_backend_that_the_wheel_stage_picks_out() -> None:
    [program] = [rest for word, rest in all_instructions() if word == "RUN" and rest.startswith("awk")]
    match = re.search(r"\^\(([\w|-]+)\)==", program)
    assert match is not None
    lock = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    for name in match[1].split("|"):
        assert re.search(rf"(?m)^{re.escape(name)}==\S+ \\\n    --hash=sha256:", lock), name


def test_the_image_is_ready_for_a_read_only_root() -> None:
    final = last_stage(all_instructions())
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(rest for word, rest in final if word == "ENV")))
    assert variables["PYTHONSAFEPATH"] == variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert ("VOLUME", json.dumps([variables["TOCSIN_DATA_DIR"]])) in final
    assert variables["TOCSIN_DATA_DIR"] == "/var/lib/tocsin"


def test_the_image_is_named_by_the_version_of_the_package() -> None:
    assert ("ARG", f"VERSION={streams.__version__}") in last_stage(all_instructions())
    path = ROOT / "deploy" / "kubernetes" / "base" / "stateful-set.yaml"
    pod = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == [f"tocsin:{streams.__version__}"]
    assert pod["securityContext"]["runAsUser"] == 10001
