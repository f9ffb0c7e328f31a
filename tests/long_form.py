"""Cases that ``make test`` leaves to the long form of the tests, ``make test-long``.

``make test`` keeps the cases in which every assertion of a test is reached, and its control. Those that
repeat them with another mechanism, signal or moment are long.
"""

from __future__ import annotations

from typing import Any

import pytest


def in_the_long_form(*cases: Any) -> list[Any]:
    """Mark cases of ``pytest.mark.parametrize``; a tuple is one case of several arguments."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
        for case in cases
    ]
