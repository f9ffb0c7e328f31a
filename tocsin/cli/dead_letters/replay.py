"""``tocsin dead-letters replay``: chooses, sends, and says what became of it."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from streams.dead_letters.choice import Choice, choose
from streams.dead_letters.replay import Replay, ReplayStoppedError
from streams.dead_letters.topic import Filter, Skipped, dead_letters, unknown
from streams.notifications.visible import visible
from streams.records import ReadingFailedError
from streams.settings import Settings
from tocsin.cli.common.reading import topic_reader

_SHOWN_FAILURES: Final = 20


class ReplayCommand:
    """One run of the command.

    Args:
        settings: brokers and topics.
        wanted: names of dead letters; empty for all that ``only`` keeps.
        only: which, when they are not named.
        to_topic: where to, instead of the topic each came from.
        dry_run: send nothing.
        again: send what was replayed before, too; see `choose`.
    """

    def __init__(
        self,
        settings: Settings,
        wanted: set[str],
        only: Filter,
        *,
        to_topic: str | None,
        dry_run: bool,
        again: bool,
    ) -> None:
        self._settings = settings
        self._topic = settings.dead_letter_topic
        self._wanted = wanted
        self._only = only
        self._to_topic = to_topic
        self._dry_run = dry_run
        self._again = again
        self._done = 0
        self._failed = 0
        self._told = 0

    async def run(self, start_ms: int) -> int:
        """Replay, say how many, and return the exit code."""
        cut_short = False
        try:
            choice = await self._choose(start_ms)
            if choice.ids:
                await self._replay(choice, start_ms)
        except asyncio.CancelledError:
            cut_short = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        except (ReplayStoppedError, ReadingFailedError) as error:
            # What was sent until then is counted all the same.
            cut_short = True
            click.echo(f"tocsin dead-letters: {visible(str(error))}", err=True)
        if self._failed > self._told:
            click.echo(f"tocsin dead-letters: and {self._failed - self._told} more", err=True)
        verb = "would replay" if self._dry_run else "replayed"
        click.echo(f"{verb} {self._done}, failed {self._failed}")
        return 1 if self._failed or cut_short else 0

    async def _choose(self, start_ms: int) -> Choice:
        """Choose what to send, and say what is left out."""
        named = bool(self._wanted)
        async with topic_reader(self._settings, [self._topic], start_ms=start_ms) as reader:
            await Replay(self._settings, reader.client, self._fail, dry_run=self._dry_run).check()
            choice = await choose(reader.to_end(), self._wanted, self._only, again=self._again)
        for name in sorted(choice.missing):
            self._fail(unknown(self._settings, name), 1)
        for sentence in choice.sentences(named=named, again=self._again):
            click.echo(f"tocsin dead-letters: {sentence}", err=True)
        return choice

    async def _replay(self, choice: Choice, start_ms: int) -> None:
        async with topic_reader(self._settings, [self._topic], start_ms=start_ms) as reader:
            replay = Replay(
                self._settings,
                reader.client,
                self._fail,
                to_topic=self._to_topic,
                dry_run=self._dry_run,
                would_send=lambda sentence: click.echo(visible(sentence)),
            )
            try:
                await replay.send(dead_letters(reader.to_end(), Skipped()), choice)
            finally:
                # Cut short: what is under way is settled, so that the count is true.
                if not await replay.stop():
                    click.echo("tocsin dead-letters: the connection did not close in time.", err=True)
                self._done = replay.done

    def _fail(self, sentence: str, number: int) -> None:
        self._failed += number
        if self._told < _SHOWN_FAILURES or number > 1:
            self._told += number
            click.echo(f"tocsin dead-letters: {visible(sentence)}", err=True)
