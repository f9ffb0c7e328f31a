"""What alerts of an event type and a publisher have in common."""

from __future__ import annotations

from agents.alert_labels import AlertLabels, fingerprint
from streams.notifications import Priority


def test_the_fingerprint_depends_on_labels_and_not_on_their_order() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    assert fingerprint({"a": "1", "b": "2"}) != fingerprint({"a": "12", "b": ""})


def test_what_is_kept_of_event_types_and_publishers_is_bounded() -> None:
    labels = AlertLabels(Priority.ERROR)
    for number in range(30_000):
        event_type, publisher_id = f"{number:0255d}", f"{number:0200d}"
        labels.of_publisher(publisher_id)
        labels.key(labels.of_event_type(event_type), event_type, publisher_id)
    assert labels._kept_bytes <= 8 * 2**20
    held = sum(len(each.before) + len(each.between) for each in labels.event_types.values())
    held += sum(each.nbytes for each in labels.publishers.values())
    held += sum(len(publisher_id) for each in labels.event_types.values() for publisher_id in each.keys)
    assert 0 < held <= labels._kept_bytes
    of_type = labels.of_event_type("x")
    for long in ("p" * 1_000_000, "q" * 1_000_000):  # of a megabyte, none is kept
        labels.of_publisher(long)
        labels.key(of_type, "x", long)
        assert long not in labels.publishers
        assert long not in of_type.keys
