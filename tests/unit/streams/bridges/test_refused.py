"""Dead letters of a bridge are those of a worker."""

from __future__ import annotations

import hashlib

from streams.bridges.refused import letter, shortened


def test_letter_says_where_it_was_meant_for_and_why():
    found = letter(
        "dead",
        "in.info",
        b"v",
        [("message-id", b"m"), ("tocsin-reason", b"forged")],
        detail="too much.",
        clock=lambda: 2.5,
    )
    assert (found.topic, found.value, found.key) == ("dead", b"v", None)
    assert dict(found.headers) == {
        "message-id": b"m",
        "tocsin-reason": b"too-large",
        "tocsin-detail": b"too much.",
        "tocsin-topic": b"in.info",
        "tocsin-partition": b"-1",
        "tocsin-offset": b"-1",
        "tocsin-timestamp-ms": b"2500",
        "tocsin-id": b"bridge:m",
    }
    assert [name for name, _ in found.headers].count("tocsin-reason") == 1


def test_shortened_letter_keeps_the_beginning_and_says_how_long_all_of_it_is():
    value = b"x" * 100_000
    whole = letter("dead", "in.info", value, [("long", b"y" * 5000)], detail="")
    found = shortened(whole)
    headers = dict(found.headers)
    assert found.value == value[: 64 * 1024]
    assert headers["tocsin-truncated"] == b"true"
    assert headers["tocsin-whole-bytes"] == b"100000"
    assert headers["tocsin-whole-sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert "long" not in headers
    # One that has no id is known by its content.
    assert headers["tocsin-id"] == b"bridge:" + hashlib.sha256(value).hexdigest().encode()
