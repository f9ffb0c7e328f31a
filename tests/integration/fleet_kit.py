"""What processes show of all workers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.integration.worker_process import Worker, eventually

WEB = ["tocsin", "web"]


async def workers_of(asked: Worker) -> dict[str, Any]:
    """What a process answers of all workers; nothing while it does not."""
    status, body = await asyncio.to_thread(asked.get, "/api/v1/workers")
    return json.loads(body) if status == 200 else {"workers": []}


def heard(answer: dict[str, Any]) -> dict[str, bool]:
    """Worker -> whether it was heard from."""
    return {each["id"]: each["heard"] for each in answer["workers"]}


async def all_show(asked: list[Worker], what: str, wanted: dict[str, bool]) -> None:
    """Wait until each process shows these workers and no others."""

    async def shown() -> bool:
        return all([heard(await workers_of(each)) == wanted for each in asked])

    await eventually(what, shown)


async def pages_show(asked: list[Worker], *texts: str) -> None:
    """Wait until the page Flow of each process has these texts."""

    async def shown() -> bool:
        pages = [(await asyncio.to_thread(each.get, "/flow"))[1].decode() for each in asked]
        return all(text in page.replace("<wbr>", "") for page in pages for text in texts)

    await eventually(f"the pages show {', '.join(texts)}", shown)
