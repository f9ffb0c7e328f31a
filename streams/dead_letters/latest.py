"""Shows the end of the dead-letter topic when somebody wants to see it, and replays what is listed.

Nothing is read while nobody looks: dead letters may come in storms, and their readers must not cost records
anything. All that is asked is done one after the other by one task, which ends when nobody has asked for
some time. Bytes, records and time are bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.errors import KafkaError

from streams.cancellation import end, look_at
from streams.dead_letters.memory import Latest
from streams.dead_letters.reading import LOOK_S, LettersUnavailableError, Reading, Replayed, Wanted
from streams.dead_letters.replay import ReplayStoppedError
from streams.log_lines import BOUNDED
from streams.records import ReadingFailedError
from streams.settings import ConfigurationError, Settings
from streams.transport.reader_connections import modest_reader

log = logging.getLogger(__name__)

#: Seconds for which what was read is shown again.
_FRESH_S: Final = 1.0
#: Seconds without a question after which it disconnects.
_IDLE_S: Final = 30.0
_STOPPED: Final = (
    "This process was stopped meanwhile: what was replayed until then is noted, ask another one for the rest."
)


_Job = Callable[[Reading], Awaitable[Any]]


class LatestDeadLetters:
    """Shows and replays dead letters for all who ask.

    Args:
        settings: brokers and topics.
        clock: seconds since 1970.
        steady: seconds, only for differences.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._steady = steady
        self._jobs: asyncio.Queue[tuple[_Job, asyncio.Future[Any]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[Latest] | None = None
        self._latest: Latest | None = None
        self._read_at = 0.0

    async def look(self) -> Latest:
        """The latest dead letters; all who ask at a time share one look.

        Raises:
            LettersUnavailableError: they cannot be read.
        """
        if self._latest is not None and self._steady() - self._read_at < _FRESH_S:
            return self._latest
        if self._looking is None or self._looking.done():
            self._looking = self._do(self._look)
        return await asyncio.shield(self._looking)

    async def replay(self, wanted: Wanted) -> Replayed:
        """Replay some of them; it goes on when who has asked does not wait.

        Raises:
            LettersUnavailableError: they cannot be read, or nothing can be replayed, or it was stopped; what
                was sent is noted in the topic.
        """

        async def job(reading: Reading) -> Replayed:
            self._latest = None
            return await reading.replay(wanted)

        replayed: Replayed = await asyncio.shield(self._do(job))
        return replayed

    async def stop(self) -> None:
        """Stop reading; a replay under way is cut short, and what it sent is noted."""
        await end(self._task)
        self._refuse_rest("It is stopping; ask again in a moment.")

    def _do(self, job: _Job) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.add_done_callback(look_at)
        self._jobs.put_nowait((job, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="dead-letters")
        return done

    async def _look(self, reading: Reading) -> Latest:
        async with asyncio.timeout(LOOK_S):
            latest = await reading.look()
        self._latest, self._read_at = latest, self._steady()
        return latest

    async def _run(self) -> None:
        """Do what is asked, until nobody asks any more or something goes wrong."""
        sentence = "It is stopping; ask again in a moment."
        try:
            while not self._jobs.empty():
                await self._connected()
        except (ConfigurationError, ReadingFailedError, LettersUnavailableError) as error:
            sentence = str(error)
        except (KafkaError, TimeoutError) as error:
            sentence = (
                f"Kafka at {self._settings.brokers} cannot be read ({str(error) or type(error).__name__}): "
                "look at the brokers."
            )
        except Exception:
            log.exception("Reading dead letters failed.")
            sentence = "Reading dead letters failed; the log says why."
        finally:
            # What is wrong is so for all who wait; the next question begins anew.
            self._refuse_rest(sentence)

    async def _connected(self) -> None:
        """Connect, do what is asked, and disconnect when nobody has asked for some time."""
        async with modest_reader(self._settings, self._tell) as reader:
            reading = Reading(self._settings, reader, self._clock)
            async with asyncio.timeout(LOOK_S):
                await reading.open()
            while True:
                try:
                    async with asyncio.timeout(_IDLE_S):
                        job, done = await self._jobs.get()
                except TimeoutError:
                    return
                try:
                    result = await job(reading)
                except ReplayStoppedError as error:
                    _set(done, LettersUnavailableError(str(error)))
                except asyncio.CancelledError:
                    _set(done, LettersUnavailableError(_STOPPED))
                    raise
                except BaseException:
                    self._jobs.put_nowait((job, done))
                    raise
                else:
                    _set(done, result)

    def _refuse_rest(self, sentence: str) -> None:
        while not self._jobs.empty():
            _, done = self._jobs.get_nowait()
            _set(done, LettersUnavailableError(sentence))

    def _tell(self, sentence: str) -> None:
        log.warning("Reading dead letters: %s", sentence, extra=BOUNDED)


def _set(done: asyncio.Future[Any], result: object) -> None:
    """Tell who has asked, if it still waits."""
    if done.done():
        return
    if isinstance(result, BaseException):
        done.set_exception(result)
    else:
        done.set_result(result)
