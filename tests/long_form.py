"""Cases that ``make test`` leaves to the long form of the tests, ``make test-long``.

What a test is for is shown by one or two of its cases. Further moments, mechanisms and ways of the same are
long; a test has at least one case that is not.
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
