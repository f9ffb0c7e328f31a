"""The page Flow: a drawing and tables that say the same, complete without scripts, safe whatever rows say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.fleet.state import DeadLetters, LeftOutError, Partitions, WorkerState
from tables.fleet.totals import ClassTotals
from tables.views.pages.flow import MOST_WORKERS, ranges
from tables.views.pages.flow_drawing import Drawn, flow_drawing, width_of
from tests.unit.tables.fleet.states import class_state, worker_state
from tests.unit.tables.views.test_pages import HOSTILE
from tests.unit.tables.views.views_kit import NOW_S, FakeSources

_SVG = "{http://www.w3.org/2000/svg}"


async def load(fake: FakeSources) -> str:
    """The page."""
    server = fake.server()
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client, client.get("/flow") as answer:
            assert answer.status == 200
            return await answer.text()
    finally:
        await server.stop()


def words(page: str) -> str:
    """The text of a page, blanks made one."""
    body = page[page.index("<main") : page.index("</main>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body.replace("<wbr>", "")))


def busy(run: str = "a", **values: object) -> WorkerState:
    """A worker that has something of everything."""
    classes = {
        "CRITICAL": class_state(
            configured_share=0.75, counted_per_s=2.0, forwarded_per_s=2.0, service_per_s=0.1
        ),
        "DEBUG": class_state(
            configured_share=0.25,
            lag_records=5000,
            oldest_age_s=95.0,
            counted_per_s=1000.0,
            service_per_s=0.3,
        ),
    }
    made = {
        "since_s": NOW_S - 7200.0,
        "written_s": NOW_S - 1.0,
        "classes": classes,
        "partitions": [
            Partitions("notifications.critical", "working", [0, 1, 2, 7], "CRITICAL"),
            Partitions("notifications.debug", "unassigned", [3], "DEBUG", more=4),
            Partitions("tocsin-partials", "resting", [5]),
        ],
        "dead_letters": [DeadLetters("DEBUG", "not-json", 3, 4608)],
        "repairs": {"timestamp-repaired": 2},
    }
    return worker_state(run, **made | values)


async def test_the_page_shows_all_workers_and_what_they_have_together() -> None:
    fake = FakeSources()
    fake.fleet.write("tocsin-0", busy())
    fake.fleet.write("tocsin-1", busy("b", ready=False, reasons=["The worker is stopping."], pool="urgent"))
    fake.fleet.write("tocsin-2", busy("c"), ago_s=70.0)
    page = await load(fake)
    seen = words(page)
    assert "2 heard from, 1 ready." in seen
    assert "1 worker was not heard from for 15 s; sums are without it." in seen
    for state in ("ready 0 s ago", "not ready 0 s ago The worker is stopping.", "not heard from 1 min ago"):
        assert state in seen
    # In the drawing and in the table.
    assert seen.count("2 000") == 2
    assert seen.count("10 000") == 2
    assert "75.0 % due 25.0 %" in seen
    assert "75.0 %, due 25.0 %" in seen  # in the drawing
    assert "Counted are all records, dead letters among them." in seen
    assert "CRITICAL 0\u20132, 7" in seen
    assert "DEBUG 3 and 4 more given to nobody" in seen
    assert "tocsin-partials 5 resting" in seen  # a state of a newer worker
    assert "not-json DEBUG 6 9.0 KiB" in seen
    assert "timestamp-repaired 4" in seen
    assert 'href="dead-letters"' in page
    assert 'href="api/v1/workers"' in page


async def test_a_fleet_of_one_and_of_none() -> None:
    fake = FakeSources()
    assert "No worker was heard from. Start one with tocsin worker" in words(await load(fake))
    fake.fleet.memory.own("me", busy())
    seen = words(await load(fake))
    assert "1 heard from, 1 ready." in seen
    assert "me pool main, weighted" in seen


async def test_what_is_not_current_is_said() -> None:
    fake = FakeSources()
    fake.fleet.write("tocsin-0", busy())
    fake.fleet.complete = False
    assert "Not up to date: the states of the workers are those of 11:59:59 UTC." in words(await load(fake))
    fake.fleet.as_of = 0.0
    assert "have not been read yet" in words(await load(fake))
    fake.fleet.trouble = "There is no topic tocsin-status."
    with pytest.raises(LeftOutError):
        fake.fleet.memory.take(b"a", b"nonsense", NOW_S, 0.0, live=True)
    seen = words(await load(fake))
    assert "There is no topic tocsin-status." in seen
    assert "1 row that could not be read was left out." in seen


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_rows_are_text_and_nothing_else(text: str) -> None:
    """Whoever may write to the topic can put anything into every member that is text."""

    def filled(name: str) -> FakeSources:
        fake = FakeSources()
        state = busy(
            pool=name,
            host=name,
            version=name[:64],
            mode=name[:50],
            ready=False,
            reasons=[name],
            classes={name[:50]: class_state(counted_per_s=1.0)},
            partitions=[Partitions(name, name[:50], [1], name[:50])],
            dead_letters=[DeadLetters(name[:50], name, 1)],
            repairs={name: 1},
        )
        fake.fleet.write(name + "-id", state)
        return fake

    def tags(page: str) -> list[str]:
        return [tag for tag in re.findall(r"<(/?[a-zA-Z][a-zA-Z0-9]*)", page) if tag != "wbr"]

    page, harmless = await load(filled(text)), await load(filled("harmless"))
    assert tags(page) == tags(harmless)
    assert "<script>alert" not in page


async def test_a_page_of_very_many_workers_is_bounded() -> None:
    fake = FakeSources()
    scattered = list(range(0, 400, 2))
    partitions = [
        Partitions(f"notifications.{p}", "working", scattered, p) for p in ("CRITICAL", "DEBUG", "INFO")
    ]
    for number in range(300):
        fake.fleet.write(f"tocsin-{number:03}", busy(str(number), partitions=partitions))
    page = await load(fake)
    assert f"{300 - MOST_WORKERS} more are in the" in words(page)
    assert len(page.encode()) < 300_000


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([3, 1, 2, 2, 9, 7, 6]) == "1\u20133, 6\u20137, 9"
    assert ranges(range(1000)) == "0\u2013999"
    assert ranges(range(0, 1000, 2)).endswith(", 22 and more")


_TOTALS = st.builds(
    ClassTotals,
    *(st.integers(0, 10) if name == "workers" else st.floats(0, 1) for name in ("workers", "due", "got")),
    st.integers(0, 2**40),
    st.floats(0, 1e9),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
)


@given(
    classes=st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.none() | _TOTALS), max_size=9),
    topic=st.text(max_size=60),
)
def test_the_drawing_is_xml_within_its_bounds_and_needs_no_style(
    classes: list[tuple[str, str, ClassTotals | None]], topic: str
) -> None:
    drawn = flow_drawing(Drawn(classes, (3, 2), topic, topic, 7))
    root = ElementTree.fromstring(str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        assert "style" not in element.attrib
        for name, value in element.attrib.items():
            if name in ("x", "x1", "x2"):
                assert 0 <= float(value) <= width
            if name in ("y", "y1", "y2"):
                assert 0 <= float(value) <= height
        if element.tag == f"{_SVG}rect":
            assert float(element.attrib["x"]) + float(element.attrib["width"]) <= width
            assert float(element.attrib["y"]) + float(element.attrib["height"]) <= height
    texts = [element.text for element in root.iter(f"{_SVG}text")]
    assert len(texts) == 3 + 5 * len(classes) + 9


def test_a_line_is_wider_for_more_and_never_without_end() -> None:
    widths = [width_of(per_s) for per_s in (0, 0.1, 1, 10, 1000, 1e5)]
    assert widths == sorted(widths)
    assert len(set(widths)) == len(widths)
    assert width_of(1e15) == 14.0


async def test_without_a_worker_that_is_heard_from_nothing_is_said_to_be_well() -> None:
    """A worker froze a minute ago; the control is one with the same row that is heard from."""
    quiet, said = busy(dead_letters=[], repairs={}), FakeSources()
    fine = (
        "nothing waits",
        "/s ",
        " %, due ",
        "None since the workers started",
        "Nothing had to be repaired",
    )
    said.fleet.write("tocsin-0", quiet)
    seen = words(await load(said))
    assert all(each in seen for each in fine)
    assert "not known" in seen, "of priorities of which this worker says nothing"
    silent = FakeSources()
    silent.fleet.write("tocsin-0", quiet, ago_s=70.0)
    seen = words(await load(silent))
    drawn = seen[: seen.index("No worker says what it has.")]
    assert not [
        each for each in fine if each in drawn.replace("Counted /s ", "").replace("Forwarded /s ", "")
    ]
    assert drawn.count("not known") == 3 * 5 + 3
    assert "Not known: no worker was heard from." in seen
    assert "None since" not in seen
    assert "Nothing had to be repaired" not in seen


async def test_the_sign_of_a_share_stays_on_the_line_of_its_number() -> None:
    fake = FakeSources()
    fake.fleet.write("tocsin-0", busy())
    page = await load(fake)
    rows = page[page.index('id="way-rows"') :]
    assert "due 25.0\u00a0%" in rows
    assert " %" not in rows[: rows.index("</tbody>")]
