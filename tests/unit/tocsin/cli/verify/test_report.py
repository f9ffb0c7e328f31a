"""What `tocsin verify` says about what it found."""

from __future__ import annotations

import math
import re

from streams.notifications import Priority
from streams.settings import Settings
from tables.verification import TOTAL, Difference, Span
from tocsin.cli.verify.findings import Findings
from tocsin.cli.verify.report import agrees, as_json, sentences, table

B = 1_700_000_000
SPAN = Span(B, B + 1000)


def test_agreement_is_one_sentence_and_what_it_holds_for() -> None:
    found = Findings(SPAN, partitions=40, records=1234, dead_letters=4, buckets=57)
    assert agrees(found)
    result, compared = sentences(found)
    assert result == "The counts agree: each of 1,234 records is counted once, 4 of them as dead letters."
    assert compared == (
        "Compared 57 rows of 10 s of 40 partitions, from 2023-11-14T22:13:20.000Z "
        "to before 2023-11-14T22:30:00.000Z."
    )
    assert table(found) == []


def test_retention_is_told_with_its_share() -> None:
    found = Findings(SPAN, partitions=40, trimmed={"t/1": B + 60.5, "t/2": B + 5.0, "t/3": math.inf})
    assert agrees(found)
    assert sentences(found)[2] == (
        "3 of 40 partitions (8 %) have lost records of this time to retention (t/1, t/2, t/3): "
        "compared in full from 2023-11-14T22:14:21.000Z on, 1 of them not in full at all; "
        "every record that is left was looked for."
    )
    assert as_json(found)["covered_from"]["t/3"] is None


def test_what_was_deleted_unread_is_told_by_priority() -> None:
    found = Findings(SPAN, partitions=40)
    assert as_json(found)["never_read"] == {}
    assert not any("before a worker had read" in sentence for sentence in sentences(found))
    found.never_read.update({Priority.ERROR: 70, Priority.INFO: 1200, Priority.DEBUG: 0})
    assert sentences(found)[2] == (
        "Records that retention deleted before a worker had read them, and no count holds: 1,270 "
        "(70 ERROR, 1,200 INFO)."
    )
    assert as_json(found)["never_read"] == {"ERROR": 70, "INFO": 1200}


def test_what_no_worker_has_committed_is_told_and_no_difference() -> None:
    found = Findings(SPAN, partitions=40, behind=3)
    assert agrees(found)
    assert sentences(found)[2] == (
        "Besides, 3 records are not counted yet, or published meanwhile: no worker had committed them when "
        "this began."
    )
    assert as_json(found)["not_committed"] == 3
    assert len(sentences(Findings(SPAN, partitions=40))) == 2


def test_nothing_covered_is_no_agreement() -> None:
    found = Findings(SPAN, partitions=1, trimmed={"t/0": math.inf})
    assert not agrees(found)
    assert "Nothing can be compared" in sentences(found)[0]


def test_what_is_corrupt_is_no_agreement_unless_dead_letters_account_for_it() -> None:
    found = Findings(SPAN, partitions=1, records=9, dead_letters=5, with_dead_letters=5)
    assert agrees(found)
    assert "5 records are corrupt on a broker's disk, and compared as the dead letters" in sentences(found)[2]
    found.unreadable["t/0"] += 5
    assert not agrees(found)
    assert "5 records are corrupt on a broker's disk, and no dead letters" in sentences(found)[0]
    assert "t/0" in sentences(found)[0]
    assert as_json(found)["unreadable"] == {"t/0": 5}
    found.add(Difference("INFO", "t/0", B, "a", 3, 1), public=False)
    assert "do not agree" in sentences(found)[0]
    assert any("Besides, 5 records are corrupt" in sentence for sentence in sentences(found))
    rows = Findings(SPAN, partitions=1, unreadable_rows=["event-counts/0/3 to 4"])
    assert not agrees(rows)
    assert "rows of them are corrupt on a broker's disk (event-counts/0/3 to 4)" in sentences(rows)[0]
    rows.add(Difference("INFO", "t/0", B, "a", 3, 1), public=False)
    assert any("differences may come of that" in sentence for sentence in sentences(rows))


def test_differences_are_summed_and_shown_safely() -> None:
    found = Findings(SPAN, partitions=1)
    for number in range(1500):
        found.add(Difference("INFO", "t/0", B, "\x1b[31m\u3164", 3, 1 + 4 * (number % 2)), public=False)
    found.add(Difference("INFO", "event-counts", B, "a", 3, 1), public=True)
    assert not agrees(found)
    assert sentences(found)[0] == (
        "The counts do not agree with the records: 1,500 records are not counted, "
        "1,500 more records are counted than published, 1 public count differs."
    )
    lines = table(found)
    assert len(lines) == 22
    assert lines[-1] == "and 1,481 more"
    assert not any("\x1b" in line or "\u3164" in line for line in lines)
    assert lines[1].endswith("\\x1b[31m\\u3164")
    assert len(as_json(found)["differences"]) == 1000


def test_other_settings_than_those_of_the_workers_are_named_where_something_differs() -> None:
    found = Findings(SPAN, partitions=1)
    assert not any("settings of the workers" in sentence for sentence in sentences(found))
    found.add(Difference("INFO", "t/0", B, "a", 3, 1), public=False)
    hint = sentences(found)[1]
    assert hint.startswith("Were these the settings of the workers?")
    for name in re.findall("TOCSIN_([A-Z_]+)", hint):
        assert name.lower() in Settings.model_fields


def test_counts_of_topics_that_are_gone_are_no_agreement() -> None:
    found = Findings(SPAN, partitions=1, strange={"old:0", "old:1"}, gone={"old:0"})
    assert not agrees(found)
    assert (
        "hold records of 2 sources whose topic is gone or belongs to another cluster" in sentences(found)[0]
    )
    assert as_json(found)["gone_sources"] == ["old:0", "old:1"]
    # Older ones are in the totals alone, which does not keep this time from being compared.
    older = Findings(SPAN, partitions=1, gone={"old:0"}, totals_at_least=[Priority.INFO])
    assert agrees(older)
    assert "whether their totals are too high is not known" in " ".join(sentences(older))
    assert "The totals hold 1 source of topics that are gone" in " ".join(sentences(older))


def test_totals_are_shown_as_such() -> None:
    found = Findings(SPAN, partitions=1, totals=[Priority.INFO, Priority.ERROR])
    assert as_json(found)["totals_compared"] == ["INFO", "ERROR"]
    assert "The totals of INFO, ERROR were compared with every record." in sentences(found)
    found.add(Difference("INFO", "event-counts", TOTAL, "a", 7, 6), public=True)
    assert not agrees(found)
    assert "total" in table(found)[1].split()
    assert as_json(found)["differences"][0]["bucket"] is None


def test_rows_of_another_app_are_told() -> None:
    found = Findings(SPAN, partitions=1)
    found.foreign["other"] = 30
    assert "holds 30 rows of other apps (other)" in " ".join(sentences(found))
