"""Alerts as an Atom feed (RFC 4287), paged after RFC 5005. Pure.

Written with the standard library: feeds are only made here and never read, so that all that matters is that
everything is escaped, and that characters which XML 1.0 has no form for do not get in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from streams.notifications.rfc3339 import format_rfc3339, parse_rfc3339
from streams.notifications.visible import visible
from tables.feeds import Feed
from tables.recent_alerts import Alert, alert_uuid
from tables.views.alert_contents import masked_body

NAMESPACE: Final = "http://www.w3.org/2005/Atom"
CONTENT_TYPE: Final = "application/atom+xml"
#: Schemes of the categories of an entry.
EVENT_TYPE_SCHEME: Final = "urn:tocsin:event-type"
PRIORITY_SCHEME: Final = "urn:tocsin:priority"

#: Entries of a page, and bytes of their alerts together.
PAGE_ENTRIES: Final = 100
_PAGE_BYTES: Final = 2**20
#: Characters of a title, and of an author's name.
_MOST_SHOWN: Final = 200
#: Of a feed without an entry.
_NEVER: Final = "1970-01-01T00:00:00Z"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def pages_of(alerts: Sequence[Alert]) -> list[Sequence[Alert]]:
    """The alerts of each page of a feed; one page at least."""
    pages, start, nbytes = [], 0, 0
    for index, alert in enumerate(alerts):
        nbytes += alert.nbytes
        if index > start and (index - start == PAGE_ENTRIES or nbytes > _PAGE_BYTES):
            pages.append(alerts[start:index])
            start, nbytes = index, alert.nbytes
    return [*pages, alerts[start:]]


@dataclass(slots=True, frozen=True)
class Page:
    """One page of a feed.

    Attributes:
        feed: whose page it is.
        app: the worker's app.
        number: of the page, from 1.
        pages: how many there are.
        base: where feeds are reached, without their path.
        hub: URL of the hub; empty for none.
        alerts: its entries, newest first.
        updated_ms: when the newest alert of the whole feed came; 0 for none.
    """

    feed: Feed
    app: str
    number: int
    pages: int
    base: str
    hub: str
    alerts: Sequence[Alert]
    updated_ms: int

    def address(self, number: int) -> str:
        """Address of a page; the first one's is that of the feed."""
        return f"{self.base}{self.feed.path}" + (f"?page={number}" if number > 1 else "")

    @property
    def links(self) -> list[tuple[str, str]]:
        """Relation and address of each link."""
        found = [("self", self.address(self.number)), ("first", self.address(1))]
        if self.number > 1:
            found.append(("previous", self.address(self.number - 1)))
        if self.number < self.pages:
            found.append(("next", self.address(self.number + 1)))
        found.append(("last", self.address(self.pages)))
        return found + ([("hub", self.hub)] if self.hub else [])

    def written(self) -> Iterator[bytes]:
        """The document in pieces: what stands before the entries, each entry, and the end.

        Some are empty: they are steps towards the next one.
        """
        feed = Element("feed", {"xmlns": NAMESPACE})
        _text(feed, "id", f"urn:uuid:{self.feed.uuid(self.app)}")
        _text(feed, "title", self.feed.title)
        _text(feed, "updated", _time(self.updated_ms))
        author = SubElement(feed, "author")
        _text(author, "name", f"Tocsin {visible(self.app)}")
        for relation, address in self.links:
            link = SubElement(feed, "link", {"rel": relation, "href": xml_text(address)})
            if relation != "hub":
                link.set("type", CONTENT_TYPE)
        whole = tostring(feed, encoding="unicode")
        yield f'<?xml version="1.0" encoding="utf-8"?>\n{whole.removesuffix("</feed>")}\n'.encode()
        for alert in self.alerts:
            body = yield from _in_pieces(masked_body(alert))
            yield tostring(_entry(alert, self.app, body), encoding="utf-8", xml_declaration=False) + b"\n"
        yield b"</feed>\n"


def _in_pieces(steps: Generator[None, None, bytes]) -> Generator[bytes, None, bytes]:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: bytes = done.value
            return found
        yield b""


def _entry(alert: Alert, app: str, body: bytes) -> Element:
    publisher = alert.publisher_id or "an unnamed publisher"
    entry = Element("entry")
    _text(entry, "id", f"urn:uuid:{alert_uuid(app, alert.ce_id)}")
    title = alert.summary or f"{alert.priority.value} {alert.event_type} from {publisher}"
    _text(entry, "title", _shown(title))
    _text(entry, "updated", _time(alert.time_ms))
    if (published := _event_time(alert.starts_at)) is not None:
        _text(entry, "published", published)
    _text(SubElement(entry, "author"), "name", _shown(publisher))
    SubElement(entry, "category", {"term": xml_text(alert.event_type), "scheme": EVENT_TYPE_SCHEME})
    SubElement(entry, "category", {"term": alert.priority.value, "scheme": PRIORITY_SCHEME})
    # A media type that is neither text nor XML: then RFC 4287 (4.1.3.3) wants Base64.
    content = SubElement(entry, "content", {"type": "application/json"})
    content.text = base64.b64encode(body).decode()
    return entry


def xml_text(text: str) -> str:
    """``text`` with what XML 1.0 cannot hold replaced by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def _shown(text: str) -> str:
    return visible(text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…")


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = xml_text(text)


def _time(milliseconds: int) -> str:
    return (format_rfc3339(milliseconds / 1000) if milliseconds > 0 else None) or _NEVER


def _event_time(text: str | None) -> str | None:
    """A time as it came, put into the form that all have here; None for what is none."""
    if text is None:
        return None
    try:
        return format_rfc3339(parse_rfc3339(text))
    except (ValueError, OverflowError):
        return None
