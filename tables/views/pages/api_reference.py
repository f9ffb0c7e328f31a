"""The page ``/api``: the API for people, made of the same OpenAPI document that programs get."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from tables.views.openapi import document
from tables.views.operations import PATH
from tables.views.pages.layout import Layout

_REF: Final = "#/components/schemas/"
#: What stands in the document's list of ways to show a token -> how the page says it.
_ACCESS: Final = {
    "token": "the token",
    "metrics": "the token of the metrics",
    "admin": "the right to change",
}


@dataclass(slots=True, frozen=True)
class Kind:
    """The type of a value: words, and the schema that they name and that the page has, or ""."""

    words: str
    schema: str = ""


@dataclass(slots=True, frozen=True)
class Field:
    """A parameter of an operation, or a member of an object."""

    name: str
    kind: Kind
    note: str
    description: str = ""


@dataclass(slots=True, frozen=True)
class Described:
    """An operation, or a schema.

    Attributes:
        key: an id on the page.
        title: method and path, or the name of the schema.
        summary: what it is.
        fields: parameters, or members.
        takes: what is sent to an operation; None for nothing.
        answers: status -> what it has.
        access: what one needs.
    """

    key: str
    title: str
    summary: str
    fields: tuple[Field, ...]
    takes: Kind | None = None
    answers: tuple[tuple[str, Kind], ...] = ()
    access: str = ""


def kind_of(schema: Mapping[str, Any]) -> Kind:
    """What a JSON schema says, in some words."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_REF)
        return Kind(name, name)
    if "anyOf" in schema:
        kinds = [kind_of(each) for each in schema["anyOf"]]
        named = next((each.schema for each in kinds if each.schema), "")
        return Kind(" or ".join(dict.fromkeys(each.words for each in kinds)), named)
    if "enum" in schema:
        return Kind(" | ".join(map(str, schema["enum"])))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        of = kind_of(schema.get("items", {}))
        return Kind(f"list of {of.words}", of.schema)
    if kind == "object" and isinstance(of_values := schema.get("additionalProperties"), Mapping):
        of = kind_of(of_values)
        return Kind(f"object of {of.words}", of.schema)
    if "format" in schema:
        kind += f" ({schema['format']})"
    return Kind(kind)


def _note(schema: Mapping[str, Any]) -> str:
    notes = []
    if (default := schema.get("default")) not in (None, {}, []):
        notes.append(f"default {default if isinstance(default, str) else json.dumps(default)}")
    notes += [
        f"{words} {schema[name]}"
        for name, words in (
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("maxLength", "at most characters:"),
        )
        if name in schema
    ]
    return ", ".join(notes)


def operations_of(found: Mapping[str, Any]) -> Iterator[Described]:
    """The operations of an OpenAPI document."""
    for path, methods in found["paths"].items():
        for method, each in methods.items():
            needs = [name for way in each["security"] for name in way]
            may_be_open = {} in each["security"] or not each["security"]
            words = [_ACCESS[name] for name in _ACCESS if name in needs]
            yield Described(
                each["operationId"],
                f"{method.upper()} {path}",
                each["summary"],
                tuple(
                    Field(
                        parameter["name"],
                        kind_of(parameter["schema"]),
                        ", ".join(
                            filter(
                                None,
                                (
                                    "" if parameter["in"] == "query" else f"in the {parameter['in']}",
                                    _note(parameter["schema"]),
                                ),
                            )
                        ),
                        parameter["description"],
                    )
                    for parameter in each["parameters"]
                ),
                _content(each["requestBody"]) if "requestBody" in each else None,
                tuple((status, _content(answer)) for status, answer in each["responses"].items()),
                " or ".join(words) + (", where one is set" if may_be_open else "") if words else "nothing",
            )


def _content(answer: Mapping[str, Any]) -> Kind:
    for media_type, each in answer.get("content", {}).items():
        kind = kind_of(each["schema"])
        return kind if kind.schema else Kind(media_type)
    return Kind("nothing")


def schemas_of(found: Mapping[str, Any]) -> Iterator[Described]:
    """The schemas of an OpenAPI document."""
    for name, schema in sorted(found["components"]["schemas"].items()):
        required = schema.get("required", ())
        yield Described(
            name,
            name,
            " ".join(str(schema.get("description", "")).replace("``", "").split()),
            tuple(
                Field(member, kind_of(each), _note(each) if member in required else "optional")
                for member, each in schema.get("properties", {}).items()
            ),
        )


class ApiReferencePage:
    """The handler of the page.

    Args:
        layout: of all pages.
        of_worker: whether a worker serves it.
    """

    def __init__(self, layout: Layout, *, of_worker: bool) -> None:
        self._layout = layout
        found = document(of_worker=of_worker)
        self._shown_always: Mapping[str, Any] = {
            "document": PATH.removeprefix("/"),
            "description": found["info"]["description"],
            "operations": list(operations_of(found)),
            "schemas": list(schemas_of(found)),
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/api", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page."""
        return await self._layout.render(request, "api_reference.html", self._shown)

    async def _shown(self) -> Mapping[str, Any]:
        return self._shown_always
