"""Amounts with their units, for people."""

from __future__ import annotations


def byte_size(size: float) -> str:
    """Bytes in the largest unit that leaves a digit before the point: ``3 B``, ``1.5 KiB``, ``2.0 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
