"""Decoding what publishers put into the properties of a message, whatever it is.

The client ends the connection over a message id that is no UTF-8, or a timestamp past the year 9999. RabbitMQ
passes both on and would send that message again over the next connection, for ever, and all others with it.
So what cannot be decoded is left out here, or escaped; the body is never touched.
"""

from __future__ import annotations

from typing import Any, Final

from pamqp import decode

_TIMESTAMP_BYTES: Final = 8
_LENGTH_BYTES: Final = 4

_timestamp = decode.timestamp
_field_table = decode.field_table


def install_lenient_decoding() -> None:
    """Have the client decode leniently, in this whole process. What can be decoded comes out as before."""
    decode.METHODS["shortstr"] = _short_str
    decode.METHODS["table"] = _table
    for found in (decode.METHODS, decode.TABLE_MAPPING):
        for name, method in found.items():
            if method is _timestamp:
                found[name] = _time  # type: ignore[index]


def _short_str(value: bytes) -> tuple[int, str]:
    """A text of up to 255 bytes; bytes that are no UTF-8 are escaped."""
    length = value[0]
    return length + 1, value[1 : length + 1].decode("utf-8", "backslashreplace")


def _time(value: bytes) -> tuple[int, Any]:
    """A time; None for one that no calendar has."""
    try:
        return _timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    """Headers; none at all where one of them cannot be decoded, since nothing says where the next begins."""
    try:
        return _field_table(value)
    except Exception:  # noqa: BLE001 -- what is nested too deep raises RecursionError, and so on
        return _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big"), {}
