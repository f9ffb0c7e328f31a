"""The app of a worker, connected to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import load_settings
from tests.unit.streams.upstream.stand_ins import FakeCoordinator
from tocsin.app import TocsinApp, make_app


@pytest.fixture
async def app(tmp_path: Path) -> TocsinApp:
    """The real app, connected to nothing."""
    made = make_app(load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1"))
    made.coordinator = FakeCoordinator()
    return made
