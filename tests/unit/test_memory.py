"""Freed large blocks go back to the system, and by default they do not."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Prints how many of 20 blocks of 900 kB, allocated after one was freed, have a mapping of their own.
_PROGRAM = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep"
    )]

libc.mallinfo.restype = Info
if {call}:
    from streams.memory import give_back_large_blocks
    assert give_back_large_blocks()
libc.free(libc.malloc(900_000))
before = libc.mallinfo().hblks
blocks = [libc.malloc(900_000) for _ in range(20)]
print(libc.mallinfo().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the option")
@pytest.mark.parametrize(("call", "mapped"), [(True, 20), (False, 0)])
def test_large_blocks_have_a_mapping_of_their_own(call: bool, mapped: int) -> None:
    program = _PROGRAM.replace("{call}", str(call))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == mapped
