"""Faust tables whose changelogs several groups share, with rows in stores of our own (`stores`).

Uses private parts of Faust, each with a test.
"""

from __future__ import annotations

from typing import Any

import faust
from faust.tables import TableManager

from streams.upstream.stores import CheckedStore


class SharedTable(faust.Table):
    """A table whose changelog is named after ``app.changelog_prefix``, and so shared by several groups.

    Faust names it after the group. What another group writes there while this one runs is not read until the
    next recovery; so each group must write rows of its own.
    """

    def _new_store_by_url(self, url: Any) -> CheckedStore:
        return CheckedStore(
            url, self.app, self, table_name=self.name, driver="rocksdict", options=self.options
        )

    def _changelog_topic_name(self) -> str:
        return f"{self.app.changelog_prefix}-{self.name}-changelog"


class TablesDeclared(TableManager):
    """The manager of tables that are all declared before the app is started.

    Faust's own (0.15.3) waits a second for modules that declare more, and the group is joined after it.
    """

    async def on_start(self) -> None:
        """Start the tables, and what recovers them."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
