"""What the chaos suite expects of hostile records is what reading does with them."""

from __future__ import annotations

import pytest

from streams.notifications import Decoder, Limits, Notification, Priority
from tests.chaos.load import Hostile
from tests.chaos.poison_faults import hostile_records


def wrongly_expected(records: list[Hostile]) -> list[bytes]:
    """The beginnings of the records of which something else becomes."""
    decode = Decoder(Limits()).decode
    wrong = []
    for record in records:
        read = decode(record.value, Priority.WARN)
        found = read.event_type if isinstance(read, Notification) else None
        if found != record.event_type:
            wrong.append((record.value or b"")[:60])
    return wrong


@pytest.mark.parametrize("priority", [Priority.CRITICAL, Priority.DEBUG])
def test_hostile_records_are_read_as_expected(priority: Priority) -> None:
    records = list(hostile_records(priority, Limits().max_bytes))
    assert any(record.event_type is None for record in records)
    assert any(record.event_type is not None for record in records)
    assert wrongly_expected(records) == []


def test_a_wrong_expectation_is_seen() -> None:
    """The control: NaN once made a record a dead letter."""
    assert wrongly_expected([Hostile(b'{"event_type": "chaos.nan", "payload": NaN}')]) != []
