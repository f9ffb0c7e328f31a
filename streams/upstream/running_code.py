"""What another thread is doing just now. Uses ``sys._current_frames``, which is for special purposes."""

from __future__ import annotations

import sys
from types import FrameType


def frame_of(thread: int) -> FrameType | None:
    """The innermost frame of a thread, as ``threading.get_ident`` names it; None when it has ended."""
    return sys._current_frames().get(thread)
