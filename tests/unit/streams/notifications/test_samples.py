"""Each collected message of a real service decodes with its type and priority."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.notifications import Decoder, Limits, Notification, Priority, Repair
from tests.paths import ROOT

SAMPLES = ROOT.parent / "shared" / "samples"

decode = Decoder(Limits()).decode


def read(value: bytes, priority: Priority) -> Notification:
    found = decode(value, priority)
    assert isinstance(found, Notification), found
    return found


def sample_files() -> list[Path]:
    return sorted(path for path in SAMPLES.glob("*/*.json")) if SAMPLES.is_dir() else []


@pytest.mark.skipif(not sample_files(), reason="the folder ../shared/samples is not there")
@pytest.mark.parametrize("path", sample_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_message_of_a_file_has_its_type_and_priority(path: Path) -> None:
    listed = {entry["file"]: entry for entry in json.loads((SAMPLES / "PROVENANCE.json").read_bytes())}
    entry = listed[f"{path.parent.name}/{path.name}"]
    content = json.loads(path.read_bytes())
    messages = content if isinstance(content, list) else [content]
    types, priorities = set(), set()
    for message in messages:
        # SAMPLE is stated by none of them, so that each stated priority shows.
        found = read(json.dumps(message).encode(), Priority.SAMPLE)
        types.add(found.event_type)
        priorities.add(str(found.stated_priority))
        plain = json.loads(message["oslo.message"]) if "oslo.message" in message else message
        assert found.event_type == plain["event_type"]
        assert found.publisher_id == plain["publisher_id"]
        assert found.payload == plain["payload"]
        own = Priority.parse(plain.get("priority", "SAMPLE"))
        assert own is not None
        again = read(json.dumps(message).encode(), own)
        assert again.priority is own
        assert set(again.repairs) <= {
            Repair.PRIORITY_MISSING,
            Repair.TIMESTAMP_MISSING,
            Repair.TIMESTAMP_REPAIRED,
        }
    assert len(messages) == entry["messages"]
    assert types == set(entry["event_types"])
    assert priorities == set(entry["priorities"])
