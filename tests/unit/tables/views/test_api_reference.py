"""The page of the API says what the OpenAPI document says."""

from __future__ import annotations

import re

import pytest

from tables.views.openapi import document
from tables.views.operations import OPERATIONS
from tables.views.pages.api_reference import Kind, kind_of, operations_of, schemas_of
from tests.unit.tables.views.test_api import served
from tests.unit.tables.views.views_kit import FakeSources


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, Kind("string")),
        ({"type": "string", "format": "date-time"}, Kind("string (date-time)")),
        ({"enum": ["a", "b"]}, Kind("a | b")),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, Kind("integer or null")),
        ({"$ref": "#/components/schemas/Body"}, Kind("Body", "Body")),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Item"}}, Kind("list of Item", "Item")),
        ({"type": "object", "additionalProperties": {"type": "number"}}, Kind("object of number")),
        ({}, Kind("any")),
    ],
)
def test_types_are_said_in_words(schema: dict[str, object], kind: Kind) -> None:
    assert kind_of(schema) == kind


def test_every_operation_and_schema_is_there_with_its_fields() -> None:
    found = document()
    operations = {each.key: each for each in operations_of(found)}
    assert set(operations) == {each.name for each in OPERATIONS}
    for operation in OPERATIONS:
        shown = operations[operation.name]
        assert [field.name for field in shown.fields] == [each.name for each in operation.parameters]
        assert shown.access
    assert operations["changeScheduler"].access == "the right to change"
    assert operations["counts"].access == "the token, where one is set"
    assert operations["live"].access == "nothing"
    assert {each.key for each in schemas_of(found)} == set(found["components"]["schemas"])


@pytest.mark.parametrize("of_worker", [True, False])
def test_every_link_leads_to_a_schema_on_the_page(of_worker: bool) -> None:
    found = document(of_worker=of_worker)
    schemas = {each.key for each in schemas_of(found)}
    for each in (*operations_of(found), *schemas_of(found)):
        kinds = [field.kind for field in each.fields] + [kind for _, kind in each.answers]
        assert {kind.schema for kind in kinds} <= schemas | {""}


async def test_the_page_has_unique_ids_and_all_links_within_it_lead_somewhere() -> None:
    async with served(FakeSources()) as client, client.get("/api") as answer:
        assert answer.status == 200
        text = await answer.text()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
