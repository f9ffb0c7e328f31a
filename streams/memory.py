"""How the C library hands out memory, in one place."""

from __future__ import annotations

import ctypes
from typing import Final

#: Of ``mallopt``, from glibc's malloc.h.
_M_MMAP_THRESHOLD: Final = -3
#: Bytes of a block that goes back to the system when it is freed: glibc's own value, before it adapts it.
LARGE_BLOCK_BYTES: Final = 128 * 1024


def give_back_large_blocks() -> bool:
    """Let every large block go back to the system once it is freed.

    By default glibc takes large blocks from the heap once it has seen one freed, and there small ones that
    live on keep the room of fetched data from being used again or given back: 12 to 15 MB of a worker in
    front of a deep backlog.

    Returns:
        False where the C library has no such option; then nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES))
