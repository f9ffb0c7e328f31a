"""The name of a source is part of keys and ids that outlive a release."""

from __future__ import annotations

from tables.source_name import source_name


def test_name_is_stable_over_releases() -> None:
    """Another name would leave all rows of the source behind, and give alerts that are repeated new ids."""
    assert source_name("5rX3wQ1pTqS0ab-_dE", 3) == "5rX3wQ1pTqS0ab-_dE:3"
