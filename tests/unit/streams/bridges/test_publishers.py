"""Who holds which token, and which publishers a token may be used for."""

from __future__ import annotations

import hashlib

import pytest

from streams.bridges.publishers import ANYBODY, Publisher, read_publishers
from streams.settings import ConfigurationError

TOKEN = "0123456789abcdef"
OTHER = "fedcba9876543210"
HASHED = f"sha256:{hashlib.sha256(OTHER.encode()).hexdigest()}"


def test_a_token_and_the_digest_of_one_are_known() -> None:
    found = read_publishers(
        f"# who\n\nnova {TOKEN} compute. scheduler.\n\tglance {HASHED.upper()[:0]}{HASHED} *\r\n", "F"
    )
    assert len(found) == 2
    assert found.of(TOKEN.encode()) == Publisher("nova", ("compute.", "scheduler."))
    assert found.of(OTHER.encode()) == Publisher("glance", ("*",))


@pytest.mark.parametrize(
    "token", [b"", b"x", TOKEN[:-1].encode(), TOKEN.encode() + b"0", HASHED.encode(), b"\xff"]
)
def test_no_other_token_is_known(token: bytes) -> None:
    assert read_publishers(f"nova {TOKEN} compute.\nglance {HASHED} *", "F").of(token) is None


def test_a_name_may_have_several_tokens_while_one_takes_the_place_of_another() -> None:
    found = read_publishers(f"nova {TOKEN} compute.\nnova {OTHER} compute.", "F")
    assert found.of(TOKEN.encode()) == found.of(OTHER.encode())


def test_a_publisher_may_use_what_begins_as_agreed() -> None:
    nova = Publisher("nova", ("compute.", "scheduler."))
    assert nova.may_use("compute.host1")
    assert nova.may_use("scheduler.host1")
    for other in ("", "compute", "computer.host1", "Compute.host1", " compute.host1", "network.compute."):
        assert not nova.may_use(other), other
    assert ANYBODY.may_use("")
    assert ANYBODY.may_use("whoever")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no publisher in the file; write a line for each"),
        ("# nobody\n", "there is no publisher in the file; write a line for each"),
        (f"\nnova {TOKEN}", "line 2 has not all of name, token and prefix"),
        (f"n/a {TOKEN} *", "line 1 begins with no name"),
        ("nova too-short *", "line 1 has no token that can be used"),
        (f"nova {TOKEN}! *", "line 1 has no token that can be used"),
        ("nova sha256:12 *", "line 1 has no token that can be used"),
        (f"nova {OTHER} a\nglance {HASHED} b", "line 2 has the token of another line"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_without_its_token(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        read_publishers(text, "F")
    for secret in (TOKEN, OTHER, "too-short"):
        assert secret not in str(raised.value)
