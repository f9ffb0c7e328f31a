"""Freed memory is kept for the next batch."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")

#: Takes and frees 8 MiB a hundred times, and prints how many pages the kernel had to give for it.
_PROGRAM = """
import resource
from tocsin.allocator import keep_freed_memory

{change}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    held = [bytearray(b"x" * 2**18) for _ in range(32)]

batch()
before = faults()
for _ in range(100):
    batch()
print(faults() - before)
"""
_PAGES_OF_A_BATCH = 8 * 2**20 // 4096


def pages_taken(change: str, **environment: str) -> int:
    program = _PROGRAM.format(change=change)
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    return int(ended.stdout)


def test_pages_are_taken_from_the_kernel_once() -> None:
    assert pages_taken("assert keep_freed_memory()") < _PAGES_OF_A_BATCH


def test_without_it_each_batch_takes_them_anew() -> None:
    assert pages_taken("") > 20 * _PAGES_OF_A_BATCH


def test_what_the_operator_has_set_stays() -> None:
    at_once = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    assert pages_taken("assert keep_freed_memory()", **at_once) > 20 * _PAGES_OF_A_BATCH
