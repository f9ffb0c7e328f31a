"""What a line of the log says about itself to whoever writes the log."""

from __future__ import annotations

from typing import Final

#: ``extra`` of a line that whoever writes it bounds: it comes at once, or it would come too late.
BOUNDED: Final = {"bounded": True}
