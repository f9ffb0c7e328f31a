"""Private methods of Faust and aiokafka that classes of ours override: they are there, and are called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import CodeType
from typing import Any

import pytest

import streams.upstream
from streams.upstream.clients import AdminClient
from streams.upstream.faust_app import App
from streams.upstream.faust_consumer import Consumer
from streams.upstream.faust_consumer_thread import ConsumerThread
from streams.upstream.faust_recovery import ObservedRecovery
from streams.upstream.faust_tables import SharedTable
from streams.upstream.faust_worker import Worker
from streams.upstream.slice_assignor import SliceAssignor
from streams.upstream.stores import CheckedStore

LIBRARIES = ("faust", "mode", "aiokafka", "rocksdict")
OVERRIDDEN = {
    AdminClient: {"_send_request", "_send_request_to_node"},
    App: {"_crash", "_on_partitions_revoked"},
    Consumer: {
        "_add_gap",
        "_commit_offsets",
        "_filter_committable_offsets",
        "_filter_tps_with_pending_acks",
        "_new_consumer_thread",
    },
    ConsumerThread: {"_commit", "_create_worker_consumer", "_fetch_records", "_seek_wait", "_stopped_set"},
    ObservedRecovery: {"_build_offsets"},
    SliceAssignor: {"_get_client_metadata", "_global_table_standby_assignments", "_perform_assignment"},
    SharedTable: {"_changelog_topic_name", "_new_store_by_url"},
    Worker: {"_sentinel_task"},
    CheckedStore: {
        "_open_for_partition",
        "_try_open_db_for_partition",
        "_visible_items",
        "_visible_keys",
    },
}


def bases_of(kind: type) -> list[type]:
    """The classes of the libraries from which a class of ours is made."""
    return [base for base in kind.__mro__[1:] if base.__module__.partition(".")[0] in LIBRARIES]


def overridden(kind: type) -> set[str]:
    """The private methods of its libraries that a class of ours overrides."""
    private = {name for name in vars(kind) if name.startswith("_") and not name.startswith("__")}
    found = {name for name in private if any(name in vars(base) for base in bases_of(kind))}
    return found - {"_abc_impl"}


def codes(found: Any) -> Iterator[CodeType]:
    """The code of a function, method, property or task of mode, and of what is defined inside it."""
    for wrapped in ("fget", "fun", "__func__", "__wrapped__"):
        found = getattr(found, wrapped, None) or found
    waiting = [code] if (code := getattr(found, "__code__", None)) is not None else []
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def names_used_by(kind: type) -> set[str]:
    """What the methods of a class's libraries name."""
    return {
        name
        for base in bases_of(kind)
        for method in vars(base).values()
        for code in codes(method)
        for name in code.co_names
    }


def ours() -> Iterator[type]:
    """All classes in ``streams.upstream``."""
    for module in pkgutil.iter_modules(streams.upstream.__path__):
        loaded = importlib.import_module(f"streams.upstream.{module.name}")
        for kind in vars(loaded).values():
            if inspect.isclass(kind) and kind.__module__ == loaded.__name__:
                yield kind


@pytest.mark.parametrize("kind", OVERRIDDEN, ids=lambda kind: kind.__name__)
def test_what_is_overridden_is_there_and_is_called(kind: type) -> None:
    assert overridden(kind) == OVERRIDDEN[kind]
    assert OVERRIDDEN[kind] <= names_used_by(kind)


def test_no_class_is_left_out() -> None:
    assert {kind for kind in ours() if overridden(kind)} == set(OVERRIDDEN)


def test_a_method_that_the_library_no_longer_has_is_noticed() -> None:
    """The control: so would it be after a new version without one of them."""

    class Later(ConsumerThread):
        async def _seek_wait_no_more(self) -> None:
            """Faust has nothing of this name."""

        async def _commit(self, offsets: Any) -> bool:
            return await super()._commit(offsets)

    assert overridden(Later) == {"_commit"}
    assert "_seek_wait_no_more" not in names_used_by(Later)
