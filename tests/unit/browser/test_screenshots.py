"""What `make screenshots` does without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import screenshots


def test_screenshots_without_chromium_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert screenshots.main(["--out", str(tmp_path / "images")]) == 1
    sentence = (
        "screenshots: There is no Chromium here: install it, on Debian with `apt-get install chromium`.\n"
    )
    assert capsys.readouterr().err == sentence
    assert not (tmp_path / "images").exists()
