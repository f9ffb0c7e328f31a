"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_TRIM_THRESHOLD: Final = -1, "MALLOC_TRIM_THRESHOLD_", 64 * 2**20
#: The largest that glibc takes.
_MMAP_THRESHOLD: Final = -3, "MALLOC_MMAP_THRESHOLD_", 32 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep up to 64 MiB of freed memory for the next batch.

    By default it gives large pieces back to the kernel at once, which clears their pages when they are taken
    again: 5 % of the processor time of a storm of alerts. What the operator has set in glibc's own variables
    of the environment stays as it is.

    Returns:
        Whether this C library can do that.
    """
    # `mallopt` of glibc's malloc.h; other C libraries have none.
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is None:
        return False
    for option, variable, nbytes in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        if variable not in os.environ:
            change(option, nbytes)
    return True
