"""Answers that are made once and kept for as long as they hold, by query, and how they are sent.

An answer's ETag is of everything in it but ``as_of``, which moves on all the time; so it is a weak one. Who
has the answer gets 304 while no count in it has changed, and the header ``Tocsin-As-Of`` says up to when that
is so.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

#: Answers that are kept, and their bytes together.
MOST_ANSWERS: Final = 256
MOST_BYTES: Final = 16 * 2**20
#: Bytes from which an answer is worth packing, and from which a thread does it, which costs a tenth of
#: a millisecond; zlib lets the event loop go on meanwhile.
_LEAST_PACKED: Final = 512
_IN_A_THREAD: Final = 4096
#: The quickest level: twice as quick as the usual one, for a tenth more bytes.
_LEVEL: Final = 1
#: Whoever keeps an answer asks whether it still holds, and no proxy keeps it for others.
KEPT_BY_CLIENT: Final = "private, no-cache"
AS_OF_HEADER: Final = "Tocsin-As-Of"
#: Under which a response knows the tag of its body, where that is made already.
TAG: Final = web.ResponseKey("tag", str)


@dataclass(slots=True)
class Answer:
    """The body of an answer, ready to be sent.

    Attributes:
        body: its bytes.
        etag: without quotes; the same for as long as a client may go on using the answer.
        content_type: of the body.
        as_of: the time that the answer is of, as it stands in it; "" where it has none.
        packed: the body packed with gzip, once somebody asked for that.
    """

    body: bytes
    etag: str
    content_type: str = "application/json"
    as_of: str = ""
    packed: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes to keep it."""
        return len(self.body) + len(self.packed or b"")


def tag(content: bytes) -> str:
    """ETag of some content."""
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def json_answer(body: bytes, as_of: str | None) -> Answer:
    """An answer of the API: a JSON object whose first member is ``as_of``."""
    return Answer(body, tag(body.partition(b",")[2]), as_of=as_of or "")


@dataclass(slots=True, frozen=True)
class _Kept:
    basis: object
    answer: Answer
    key_bytes: int

    @property
    def size(self) -> int:
        return self.key_bytes + self.answer.size


class Answers:
    """Keeps answers, up to a number and a sum of bytes; those that were asked for last stay.

    Args:
        most: answers.
        most_bytes: of them together, with their keys.
    """

    def __init__(self, most: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._making: dict[Hashable, tuple[object, asyncio.Task[Answer]]] = {}
        #: Answers that were made, and that were there already.
        self.made = 0
        self.used_again = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(kept.size for kept in self._kept.values())

    async def get(
        self, key: Hashable, basis: object, make: Callable[[], Awaitable[Answer]], key_bytes: int = 0
    ) -> Answer:
        """The answer for a key, made unless it is there; all who ask at a time share one.

        Args:
            key: what was asked.
            basis: what the answer is made of; it holds until another object is given.
            make: makes it.
            key_bytes: size of the key, where a client chose it.
        """
        kept = self._kept.get(key)
        if kept is not None and kept.basis is basis:
            self._kept.move_to_end(key)
            self.used_again += 1
            return kept.answer
        made_of, task = self._making.get(key, (None, None))
        if task is None or made_of is not basis:
            task = asyncio.create_task(self._make(key, basis, make, key_bytes), name="web-answer")
            self._making[key] = basis, task
        # The task goes on when who asked first is gone: others wait for it.
        return await asyncio.shield(task)

    async def _make(
        self, key: Hashable, basis: object, make: Callable[[], Awaitable[Answer]], key_bytes: int
    ) -> Answer:
        try:
            answer = await make()
        finally:
            if self._making.get(key, (None, None))[1] is asyncio.current_task():
                del self._making[key]
        self.made += 1
        self._kept[key] = _Kept(basis, answer, key_bytes)
        self._kept.move_to_end(key)
        self.bound()
        return answer

    def bound(self) -> None:
        """Forget what was not asked for longest, where it is too much."""
        size = self.size
        while self._kept and (len(self._kept) > self._most or size > self._most_bytes):
            _, gone = self._kept.popitem(last=False)
            size -= gone.size


async def packed(body: bytes) -> bytes:
    """``body`` packed with gzip."""
    if len(body) < _IN_A_THREAD:
        return gzip.compress(body, _LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)


def takes_gzip(request: web.BaseRequest) -> bool:
    """Whether the client takes gzip."""
    for each in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, quality = each.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def has(request: web.Request, etag: str) -> bool:
    """Whether the client says that it has what this ETag stands for."""
    given = request.if_none_match
    return given is not None and any(each.value in (etag, "*") for each in given)


async def answered(request: web.Request, answer: Answer) -> web.Response:
    """The response to a request: the answer, packed where that is taken and worth it, or 304."""
    headers = {
        "ETag": f'W/"{answer.etag}"',  # weak, for it is that of the packed body as well
        "Cache-Control": KEPT_BY_CLIENT,
        "Vary": "Accept-Encoding",
    }
    if answer.as_of:
        headers[AS_OF_HEADER] = answer.as_of
    if has(request, answer.etag):
        return web.Response(status=304, headers=headers)
    body = answer.body
    if len(body) >= _LEAST_PACKED and takes_gzip(request):
        if answer.packed is None:
            answer.packed = await packed(answer.body)
        body = answer.packed
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers | {"Content-Type": answer.content_type})
