"""What the alert topics hold, against what was published."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson

from streams.settings import Settings
from tests.integration.reading import check_counts_at_rest, read_all
from tests.integration.writing import Place, Published


async def read_forwards(settings: Settings, severity: str) -> dict[Place, list[Any]]:
    """The records of an alert topic by the place of the notification that they forward."""
    found: dict[Place, list[Any]] = defaultdict(list)
    for record in await read_all(settings.brokers, settings.alert_topic(severity)):
        (example,) = orjson.loads(record.value)["examples"]
        found[example["topic"], example["partition"], example["offset"]].append(record)
    return found


async def check_forwards(settings: Settings, published: Published, *, repeats: bool) -> None:
    """Check that each CRITICAL and ERROR is forwarded, and nothing else.

    Args:
        settings: of the workers.
        published: what must be there.
        repeats: whether one may be there several times, which then are equal to the last byte.
    """
    ids: dict[str, Place] = {}
    for severity in ("CRITICAL", "ERROR"):
        wanted = published.forwarded[severity]
        found = await read_forwards(settings, severity)
        missing, strange = wanted - found.keys(), found.keys() - wanted
        assert not missing, f"{len(missing)} {severity} were not forwarded, such as {sorted(missing)[:5]}"
        assert not strange, f"{len(strange)} {severity} are not known, such as {sorted(strange)[:5]}"
        for place, records in found.items():
            contents = {(each.key, each.value, tuple(each.headers)) for each in records}
            assert len(contents) == 1, f"{place} was forwarded in {len(contents)} ways: {contents}"
            assert repeats or len(records) == 1, f"{place} was forwarded {len(records)} times"
            identity = dict(records[0].headers)["ce_id"].decode()
            assert ids.setdefault(identity, place) == place, f"{identity} stands for two notifications"


async def check_at_rest(settings: Settings, published: Published) -> None:
    """Once all workers are gone: every count is exact, and every CRITICAL and ERROR is forwarded."""
    await check_counts_at_rest(settings, published.counts)
    await check_forwards(settings, published, repeats=True)
