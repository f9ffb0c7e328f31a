"""The manager of tables starts them at once: all are declared before."""

from __future__ import annotations

from typing import Any

from faust.tables import TableManager

from streams.upstream.faust_tables import TablesDeclared
from tocsin.app import TocsinApp


async def _started(kind: type[TableManager], *, stopped: bool = False) -> list[str]:
    """What a manager does at its start."""
    done: list[str] = []

    class Manager(kind):  # type: ignore[misc, valid-type]
        should_stop = stopped

        async def sleep(self, seconds: float) -> None:
            done.append(f"sleep {seconds:g}")

        async def _update_channels(self) -> None:
            done.append("tables")

        @property
        def recovery(self) -> Any:
            class Recovery:
                async def start(self) -> None:
                    done.append("recovery")

            return Recovery()

    await Manager.on_start(Manager.__new__(Manager))
    return done


async def test_tables_are_started_at_once_and_their_recovery_after_them() -> None:
    assert await _started(TablesDeclared) == ["tables", "recovery"]
    assert await _started(TablesDeclared, stopped=True) == []


async def test_fausts_own_does_the_same_a_second_later() -> None:
    """Why it is overridden, and that nothing else is left out."""
    assert await _started(TableManager) == ["sleep 1", "tables", "recovery"]


async def test_a_worker_declares_its_tables_before_it_starts(app: TocsinApp) -> None:
    assert isinstance(app.tables, TablesDeclared)
    declared = {app.faust_tables.partial_counts, app.faust_tables.combined_counts}
    assert set(app.tables.values()) == declared
