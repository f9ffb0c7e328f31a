"""``tocsin web`` whose counts of an event type are other than its OpenAPI document says."""

from __future__ import annotations

from typing import Any

from tables.views import openapi
from tables.views.openapi import document
from tocsin.__main__ import main


def wrong(*arguments: Any, **options: Any) -> dict[str, Any]:
    """The document, where a count would be a text."""
    found = document(*arguments, **options)
    found["components"]["schemas"]["CountItem"]["properties"]["count"] = {"type": "string"}
    return found


if __name__ == "__main__":
    openapi.document = wrong
    main()
