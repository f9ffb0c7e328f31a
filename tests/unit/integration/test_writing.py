"""The load of the tests on a real Kafka."""

from __future__ import annotations

import pytest

from streams.settings import load_settings
from tests.integration.writing import Writer, made_load


async def test_a_load_with_an_end_is_refused_where_it_is_to_last_as_long_as_its_block() -> None:
    """On a slow machine it would run dry, however large it is."""
    out = Writer(None, load_settings())
    with pytest.raises(AssertionError, match="a load with an end"):
        async with out.steadily(made_load(seed=1, count=10**9)):
            pytest.fail("it began")
