"""Lines of a file: what they lack is filled in, and the rest stays byte for byte."""

from __future__ import annotations

import json

import pytest

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification
from streams.notifications.priority import Priority
from streams.publishing.lines import make_line_reader

READ = make_line_reader(Priority.WARN, "publish.host1", Limits())
FILLED = {"message_id": "m-1", "publisher_id": "publish.host1", "timestamp": "1970-01-01 00:00:00.000000"}


@pytest.mark.parametrize("lacking", ["{}", '{"message_id": null, "publisher_id": "", "priority": null}'])
def test_what_a_line_lacks_is_filled_in(lacking: str) -> None:
    line = json.dumps(json.loads(lacking) | {"event_type": "a"}).encode()
    found = READ(line, 0, "m-1")
    assert isinstance(found, tuple)
    assert found[0] is Priority.WARN
    assert json.loads(found[1]) == FILLED | {"event_type": "a", "priority": "WARN"}


def test_numbers_stay_as_they_are_written() -> None:
    found = READ(b'{"event_type": "a", "payload": [123456789012345678901234567890, 1.10, 1e999]}', 0, "m-1")
    assert isinstance(found, tuple)
    assert b'"payload":[123456789012345678901234567890, 1.10, 1e999]' in found[1]


@pytest.mark.parametrize("payload", [b"NaN", b"1e999", b'"\\ud800"', b"[Infinity]"])
def test_what_the_worker_repairs_is_published(payload: bytes) -> None:
    found = READ(b'{"event_type": "a", "payload": ' + payload + b"}", 0, "m-1")
    assert isinstance(found, tuple)
    assert payload in found[1]
    assert isinstance(Decoder(Limits()).decode(found[1], found[0]), Notification)


@pytest.mark.parametrize(
    "line",
    [
        b'{"oslo.message": "{\\"event_type\\": \\"a\\"}"}',
        b'"{\\"event_type\\": \\"a\\"}"',
        b'{"specversion": "1.0", "data": {"event_type": "a"}}',
    ],
)
def test_other_forms_stay_as_they_are(line: bytes) -> None:
    assert READ(line, 0, "m-1") == (Priority.WARN, line)
