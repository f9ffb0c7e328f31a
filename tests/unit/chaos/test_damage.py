"""The damage that the fault tests do is damage indeed, and unchecked iteration misses some of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import rocksdict

from tests.chaos import damage

ROWS = 20_000


def _open(store: Path) -> rocksdict.Rdict:
    return rocksdict.Rdict(str(store), rocksdict.Options(raw_mode=True))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    database = _open(path)
    for number in range(ROWS):
        database[b"%08d" % number] = b"value %d" % number
    database.flush()
    database.close()
    return path


def test_unchecked_iteration_misses_a_flipped_byte_and_status_tells(store: Path) -> None:
    damage.flip_byte(damage.sst_files(store)[0])
    database = _open(store)
    try:
        assert len(list(database.items())) < ROWS, "the flipped byte did no harm"
        rows = database.iter()
        rows.seek_to_first()
        while rows.valid():
            rows.next()
        with pytest.raises(Exception, match="Corruption"):
            rows.status()
        del rows
    finally:
        database.close()


@pytest.mark.parametrize(
    "harm",
    [
        lambda store: damage.cut(damage.sst_files(store)[0]),
        damage.remove_current,
        damage.remove_manifests,
    ],
    ids=["file cut", "CURRENT gone", "MANIFEST gone"],
)
def test_the_damage_loses_rows_or_is_refused(store: Path, harm: Callable[[Path], object]) -> None:
    harm(store)
    try:
        database = _open(store)
        rows = len(list(database.items()))
        database.close()
    except Exception:  # rocksdict raises bare exceptions
        rows = 0
    assert rows < ROWS


def test_a_held_lock_keeps_others_out_and_is_given_back(store: Path) -> None:
    with damage.held_lock(store), pytest.raises(Exception, match=r"(?i)lock"):
        _open(store)
    _open(store).close()
