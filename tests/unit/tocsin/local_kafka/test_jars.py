"""The jars' cache: brought once, checked by hash, mended, and shared by processes that start together."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tocsin.local_kafka import jars as kafka_jars
from tocsin.local_kafka.jars import Jar, LocalKafkaError, class_path


class Repository:
    """Stands in for the download of one jar; counts and can fail."""

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self._guard = threading.Lock()

    def content(self, artifact: str) -> bytes:
        return artifact.encode() * 1000

    def jar(self, artifact: str) -> Jar:
        content = self.content(artifact)
        return Jar("org.example", artifact, "1.0", len(content), hashlib.sha256(content).hexdigest())

    def download(self, jar: Jar, folder: Path, advance: Callable[[int], None]) -> None:
        with self._guard:
            self.downloads.append(jar.artifact)
        content = self.content(jar.artifact)
        (folder / jar.file_name).write_bytes(content)
        advance(len(content))


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Repository:
    found = Repository()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kafka_jars, "locked_jars", lambda: [found.jar("a"), found.jar("b")])
    monkeypatch.setattr(kafka_jars, "_download_one", found.download)
    return found


def test_brings_what_is_missing_and_tells_how_far(repository: Repository) -> None:
    told: list[tuple[int, int]] = []
    paths = class_path(lambda _what, done, total: told.append((done, total)))
    assert [path.read_bytes() for path in paths] == [repository.content("a"), repository.content("b")]
    assert told[0] == (0, 0)
    assert told[-1] == (2000, 2000)
    assert class_path() == paths
    assert sorted(repository.downloads) == ["a", "b"]


@pytest.mark.parametrize("damage", [b"", b"b" * 999, b"x" * 1000])
def test_mends_a_damaged_jar(repository: Repository, damage: bytes) -> None:
    _, second = class_path()
    second.write_bytes(damage)
    class_path()
    assert second.read_bytes() == repository.content("b")
    assert sorted(repository.downloads) == ["a", "b", "b"]


def test_clears_what_a_broken_download_left(repository: Repository) -> None:
    folder = kafka_jars.cache_dir() / "jars"
    (folder / ".download-old").mkdir(parents=True)
    class_path()
    assert sorted(path.name for path in folder.iterdir()) == ["a-1.0.jar", "b-1.0.jar"]


def test_many_that_start_together_download_once(repository: Repository) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = [task.result() for task in [pool.submit(class_path) for _ in range(8)]]
    assert all(result == results[0] for result in results)
    assert sorted(repository.downloads) == ["a", "b"]


def test_a_failed_download_is_one_sentence_and_leaves_no_lock(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(jar: Jar, folder: Path, advance: Callable[[int], None]) -> None:
        raise LocalKafkaError("Cannot download.")

    with monkeypatch.context() as patch:
        patch.setattr(kafka_jars, "_download_one", fail)
        with pytest.raises(LocalKafkaError, match="Cannot download"):
            class_path()
    class_path()
    assert sorted(repository.downloads) == ["a", "b"]


def test_a_jar_that_is_not_the_pinned_one_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from jgo.maven import PythonResolver

    def other(_self: object, artifact: object) -> Path:
        path = tmp_path / "other.jar"
        path.write_bytes(b"x" * 1000)
        return path

    monkeypatch.undo()
    monkeypatch.setattr(PythonResolver, "download", other)
    with pytest.raises(LocalKafkaError, match="is not the one that is pinned"):
        kafka_jars._download_one(repository.jar("a"), tmp_path, lambda _count: None)
    assert not (tmp_path / "a-1.0.jar").exists()


def test_without_a_network_it_tries_again_and_says_so(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import requests
    from jgo.maven import PythonResolver

    tries = []

    def unreachable(_self: object, artifact: object) -> Path:
        tries.append(artifact)
        raise requests.ConnectionError("a long story")

    monkeypatch.undo()
    monkeypatch.setattr(PythonResolver, "download", unreachable)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(LocalKafkaError, match=r"Cannot download org.example:a:1.0 .*\(no connection\)"):
        kafka_jars._download_one(repository.jar("a"), tmp_path, lambda _count: None)
    assert len(tries) == 3


def test_the_cache_follows_xdg_and_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert kafka_jars.cache_dir().parents[1] == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert kafka_jars.cache_dir().parents[1] == tmp_path / "other"
