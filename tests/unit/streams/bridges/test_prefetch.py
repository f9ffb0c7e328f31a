"""The bytes of a queue's messages stay bounded."""

from __future__ import annotations

from streams.bridges.prefetch import Prefetch


def test_small_messages_leave_the_limit_as_it_is():
    prefetch = Prefetch(10, 1000)
    assert all(prefetch.fits(100) for _ in range(10))
    assert (prefetch.number, prefetch.limit) == (10, 10)
    assert not any(prefetch.left(100) for _ in range(10))


def test_large_messages_lower_it_and_calm_raises_it_again():
    prefetch = Prefetch(10, 1000)
    assert prefetch.fits(400)
    assert prefetch.fits(400)
    assert not prefetch.fits(400)
    assert (prefetch.number, prefetch.limit) == (2, 2)
    grown = [prefetch.left(400), prefetch.left(400)]
    while prefetch.limit < 10:
        assert prefetch.fits(10)
        grown.append(prefetch.left(10))
    # From 2 to 4, 8 and 10.
    assert grown.count(True) == 3


def test_one_that_is_larger_than_the_bound_comes_alone():
    prefetch = Prefetch(10, 1000)
    assert prefetch.fits(5000)
    assert not prefetch.fits(1)
    assert prefetch.limit == 1
    prefetch.left(5000)
    assert prefetch.fits(1)
