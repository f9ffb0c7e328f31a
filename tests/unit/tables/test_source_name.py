"""The name of a source is part of keys and ids that outlive a release."""

from __future__ import annotations

from tables.source_name import first_life, source_name


def test_name_is_stable_over_releases() -> None:
    """Another name would leave all rows of the source behind, and give alerts that are repeated new ids."""
    assert source_name("5rX3wQ1pTqS0ab-_dE", 3) == "5rX3wQ1pTqS0ab-_dE:3"


def test_the_name_of_a_later_life_begins_with_that_of_the_first() -> None:
    name = source_name("5rX3wQ1pTqS0ab-_dE", 3, "12-5")
    assert name == "5rX3wQ1pTqS0ab-_dE:3:12-5"
    assert first_life(name.encode()) == first_life(b"5rX3wQ1pTqS0ab-_dE:3") == b"5rX3wQ1pTqS0ab-_dE:3"
