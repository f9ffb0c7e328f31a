"""``import tocsin``: what it offers, how little it loads, and what is said beside packages of its names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import streams
import tocsin
from streams.notifications.priority import Priority
from streams.publishing.driver import load_driver
from streams.publishing.log_handler import NotificationHandler
from streams.publishing.notifier import AsyncNotifier, Notifier
from tocsin.cli.commands import COMMANDS, ON_STREAMS_ALONE

NAMES = {
    "AsyncNotifier": AsyncNotifier,
    "NotificationHandler": NotificationHandler,
    "Notifier": Notifier,
    "Priority": Priority,
    "__version__": streams.__version__,
    "load_driver": load_driver,
}
_PUBLISH = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from tocsin import Notifier, load_driver
with load_driver("log") as driver:
    Notifier("tests.here", driver).error("compute.create.error", {"disk": "full"})
"""
#: Distribution -> its package that has the name of one of ours.
RIVALS = {"openai-agents": "agents", "tables": "tables"}


def python(*arguments: str, folder: Path, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty folder, with nothing of Tocsin's settings; ``first`` leads the search path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "PYTHON"))}
    if first is not None:
        environment["PYTHONPATH"] = str(first)
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def foreign(folder: Path, *packages: str) -> Path:
    """Packages that are somebody else's, and tell when they are imported."""
    for package in packages:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("print('FOREIGN CODE RUNS')\n", encoding="utf-8")
    return folder


def test_all_names_what_there_is() -> None:
    assert sorted(tocsin.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", list(NAMES))
def test_each_name_is_the_thing_itself(name: str) -> None:
    assert getattr(tocsin, name) is NAMES[name]


def test_a_star_import_brings_them_all(tmp_path: Path) -> None:
    code = f"from tocsin import *\nfor name in {list(NAMES)}: globals()[name]"
    assert python("-c", code, folder=tmp_path).stderr == ""


def test_dir_lists_them_before_they_are_used(tmp_path: Path) -> None:
    code = f"import tocsin; assert set(dir(tocsin)) >= {set(NAMES)}, dir(tocsin)"
    assert python("-c", code, folder=tmp_path).stderr == ""


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match=r"^module 'tocsin' has no attribute 'Notifer'$"):
        _ = tocsin.Notifer
    assert not hasattr(tocsin, "Notifer")


def loaded(code: str, folder: Path) -> set[str]:
    """The modules that are loaded after ``code``."""
    result = python("-c", f"{code}\nimport sys; print(*sys.modules)", folder=folder)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def packages_of(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_publishing_loads_neither_faust_nor_rocksdb_nor_a_command(tmp_path: Path) -> None:
    found = loaded("from tocsin import Notifier, load_driver", tmp_path)
    assert "streams.publishing.notifier" in found
    assert not packages_of(found) & {"faust", "mode", "rocksdict", "agents", "tables"}
    assert not [name for name in found if name.startswith(("tocsin.cli", "tocsin.app"))]


def test_the_import_alone_loads_nothing_else_of_ours(tmp_path: Path) -> None:
    ours = {
        name for name in loaded("import tocsin", tmp_path) if name.startswith(("tocsin", "streams", "tables"))
    }
    assert ours == {"tocsin", "tocsin.guard"}


def test_help_loads_no_command(tmp_path: Path) -> None:
    code = "import tocsin.cli\ntry: tocsin.cli.cli(['--help'])\nexcept SystemExit: pass"
    found = loaded(code, tmp_path)
    assert "tocsin.cli" in found
    assert not packages_of(found) & {"faust", "rocksdict", "aiokafka", "rich", "agents", "tables"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_that_is_said_to_need_streams_alone_does(name: str, tmp_path: Path) -> None:
    found = packages_of(loaded(f"import {COMMANDS[name][0]}", tmp_path))
    if name in ON_STREAMS_ALONE:
        assert not found & {"agents", "tables"}
    elif name not in ("worker", "bridge"):  # they import them when they run
        assert found & {"agents", "tables"}


def test_publishing_works_beside_packages_of_the_same_names(tmp_path: Path) -> None:
    result = python("-c", _PUBLISH, folder=tmp_path, first=foreign(tmp_path / "first", "agents", "tables"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "compute.create.error" in result.stdout
    assert "FOREIGN" not in result.stdout


def test_another_streams_is_told_in_one_sentence(tmp_path: Path) -> None:
    first = foreign(tmp_path / "first", "streams")
    result = python("-c", _PUBLISH, folder=tmp_path, first=first)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "tocsin.guard.ForeignPackageError: The package 'streams' is not Tocsin's "
        f"(found {first / 'streams'}): install Tocsin into an environment of its own."
    )


def test_another_streams_that_is_imported_already_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'first'); import streams; del sys.path[0]\n"
        "import tocsin; tocsin.Notifier"
    )
    foreign(tmp_path / "first", "streams")
    assert "The package 'streams' is not Tocsin's" in python("-c", code, folder=tmp_path).stderr


@pytest.mark.parametrize("package", ["streams", "tables", "agents"])
@pytest.mark.parametrize("command", ["worker", "verify"])
def test_a_command_refuses_beside_another_package(package: str, command: str, tmp_path: Path) -> None:
    first = foreign(tmp_path / "first", package)
    result = python("-m", "tocsin", command, folder=tmp_path, first=first)
    assert (result.returncode, result.stdout) == (os.EX_CONFIG, "")
    assert result.stderr == (
        f"tocsin: The package {package!r} is not Tocsin's (found {first / package}): "
        "install Tocsin into an environment of its own.\n"
    )


def test_a_folder_without_init_does_not_pass_for_a_package(tmp_path: Path) -> None:
    """What is left of our package when a rival's that overwrote it is uninstalled."""
    code = (
        "import sys, tocsin.guard as g\n"
        "g._HOME = g.Path('home').resolve(); sys.path.insert(0, 'home')\n"
        "g.check_package('left_over')"
    )
    (tmp_path / "home" / "left_over").mkdir(parents=True)
    result = python("-c", code, folder=tmp_path)
    assert "The package 'left_over' is not Tocsin's" in result.stderr


@pytest.mark.parametrize("distribution", list(RIVALS))
def test_a_worker_refuses_beside_a_rival_and_publishing_goes_on(distribution: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    info = first / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    refused = python("-m", "tocsin", "worker", folder=tmp_path, first=first)
    assert (refused.returncode, refused.stdout) == (os.EX_CONFIG, "")
    assert refused.stderr == (
        f"tocsin: The distribution {distribution!r} is installed here, and its package "
        f"{RIVALS[distribution]!r} has the name of one of Tocsin's: "
        "install Tocsin into an environment of its own.\n"
    )
    published = python("-c", _PUBLISH, folder=tmp_path, first=first)
    assert (published.returncode, published.stderr) == (0, "")
    assert "compute.create.error" in published.stdout


def test_without_a_rival_the_worker_gets_past_the_check(tmp_path: Path) -> None:
    assert python("-m", "tocsin", "worker", "--show-config", folder=tmp_path).returncode == 0
