"""The folder of a demo: its own, and nothing is left of others that were killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.cli.demo.command import own_folder


def test_a_demo_deletes_the_folder_of_one_that_was_killed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    left = [tmp_path / ".tocsin" / name for name in ("demo-7-killed", "demo-8-half-deleted")]
    other = tmp_path / ".tocsin" / "kafka"
    for folder in (*left, other):
        (folder / "worker").mkdir(parents=True)
    (left[0] / "lock").touch()
    with own_folder() as first:
        assert not any(folder.exists() for folder in left)
        with own_folder() as second:
            assert first.is_dir()
            assert second.is_dir()
            assert first != second
    assert not first.exists()
    assert not second.exists()
    assert other.is_dir()
