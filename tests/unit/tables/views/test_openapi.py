"""The OpenAPI document: every route is in it, and what is answered is as it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import aiohttp
import jsonschema
import pytest
from yarl import URL

from tables.views.openapi import document
from tables.views.operations import OPERATIONS, Operation
from tests.unit.tables.views.alerts_kit import alert_record, forward
from tests.unit.tables.views.views_kit import FakeSources, sample, served

#: Paths of pages and their files, which are for browsers, and not of the API.
_PAGES = re.compile(
    r"/$|/(counts|event|alerts?|dead-letters|flow|live|api)$|/static/|/sign-(in|out)$|/feeds/"
)


def routes(fake: FakeSources, **settings: Any) -> set[tuple[str, str]]:
    """Method and path of every route but those of pages and feeds."""
    found = set()
    for route in fake.server(**settings).app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if route.method != "HEAD" and not _PAGES.match(path):
            found.add((route.method, path))
    return found


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts, an alert and dead letters."""
    sources = sample()
    forward(sources, alert_record(1))
    sources.letters.add(1)
    sources.letters.add(2, topic="elsewhere")
    return sources


def paths_of(operations: Iterable[Operation]) -> set[tuple[str, str]]:
    return {(each.method.upper(), each.path) for each in operations}


def test_every_route_is_in_the_document_and_nothing_else(fake: FakeSources) -> None:
    assert routes(fake) == paths_of(OPERATIONS)
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)


def test_a_route_that_is_forgotten_shows(fake: FakeSources) -> None:
    assert routes(fake) - paths_of(OPERATIONS[1:]) == {("GET", "/api/v1/counts")}


def errors(schema: dict[str, Any], found: Any) -> list[str]:
    """What an answer has against its schema; empty is good."""
    whole = schema | {"components": document()["components"]}
    return [each.message for each in jsonschema.Draft202012Validator(whole).iter_errors(found)]


PATHS = {
    "/api/v1/counts": "/api/v1/counts?limit=2",
    "/api/v1/counts/{event_type}": "/api/v1/counts/volume.create.end",
    "/api/v1/matrix": "/api/v1/matrix?window=1h&limit=2",
    "/api/v1/scheduler": "/api/v1/scheduler",
    "/api/v1/workers": "/api/v1/workers",
    "/api/v1/alerts": "/api/v1/alerts",
    "/api/v1/alerts/groups": "/api/v1/alerts/groups",
    "/api/v1/alerts/{topic}/{partition}/{offset}": "/api/v1/alerts/alerts.error/0/1",
    "/api/v1/dead-letters": "/api/v1/dead-letters?limit=2",
    "/livez": "/livez",
    "/readyz": "/readyz",
    "/startupz": "/startupz",
}


@pytest.mark.parametrize("path", PATHS)
async def test_answers_are_as_the_document_says(fake: FakeSources, path: str) -> None:
    operation = document()["paths"][path]["get"]
    async with served(fake) as client:
        async with client.get(PATHS[path]) as answer:
            found = await answer.json()
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert errors(schema, found) == []
        for name in found:
            assert errors(schema, {key: found[key] for key in found if key != name}) or name == "details"
        async with client.get(f"{PATHS[path].partition('?')[0]}?nothing=1") as answer:
            if answer.status != 200:
                problem = operation["responses"][str(answer.status)]["content"]["application/problem+json"]
                assert errors(problem["schema"], await answer.json(content_type=None)) == []


async def test_it_is_served_with_the_address_that_a_proxy_has_put_it_under(fake: FakeSources) -> None:
    async with served(fake, web_prefix="/tocsin", web_trusted_proxies="127.0.0.1") as client:
        for headers, server in (({}, "/tocsin"), ({"X-Forwarded-Prefix": "/x"}, "/x")):
            async with client.get("/api/v1/openapi.json", headers=headers) as answer:
                found = await answer.json()
            assert found == document(server)
        etag = answer.headers["ETag"]
        async with client.get("/api/v1/openapi.json", headers=headers | {"If-None-Match": etag}) as answer:
            assert answer.status == 304
    assert document()["servers"] == [{"url": "/"}]


def test_what_tocsin_web_lacks_is_not_in_its_document() -> None:
    gone = {
        (path, method)
        for path, methods in document()["paths"].items()
        for method in methods
        if method not in document(of_worker=False)["paths"].get(path, {})
    }
    assert gone == {("/api/v1/scheduler", "put")}


def test_every_reference_leads_somewhere() -> None:
    found = document()
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(found)))
    assert references <= found["components"]["schemas"].keys()
    assert {"CountsBody", "SnapshotEvent", "DeltaEvent", "ProblemBody"} <= found["components"][
        "schemas"
    ].keys()


async def test_the_document_wants_the_token_as_the_counts_do(fake: FakeSources) -> None:
    async with served(fake, web_token="t0ken") as client:
        async with client.get("/api/v1/openapi.json") as answer:
            assert answer.status == 401
        async with aiohttp.ClientSession() as other:
            url = URL(str(client._base_url)).with_user("x").with_password("t0ken") / "api/v1/openapi.json"
            async with other.get(url) as answer:
                assert answer.status == 200
