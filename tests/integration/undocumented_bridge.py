"""``tocsin bridge http`` whose OpenAPI document says otherwise what is answered."""

from __future__ import annotations

from typing import Any

from tocsin.__main__ import main
from tocsin.bridge_http import openapi, server


def wrong(*arguments: Any, **options: Any) -> dict[str, Any]:
    """The document, where the number of notifications would be a text."""
    found = openapi.document(*arguments, **options)
    found["components"]["schemas"]["Accepted"]["properties"]["accepted"] = {"type": "string"}
    return found


if __name__ == "__main__":
    server.document = wrong
    main()
