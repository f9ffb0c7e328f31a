"""Files that settings name: what is read, and the sentence for each that cannot be."""

from __future__ import annotations

import codecs
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.settings import SECRETS, ConfigurationError, files, load_settings

SECRET = "pass-wörd of sixteen"

#: From a path to what lies there, and the words of the sentence.
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "cannot read {}, there is no file of this name."),
    "folder": (lambda path: path.mkdir(), "cannot read {} (Is a directory)"),
    "latin-1": (lambda path: path.write_bytes(b"p\xe4ssword\n"), "{} is not UTF-8 text"),
    "utf-16": (lambda path: path.write_bytes("password".encode("utf-16")), "{} is not UTF-8 text"),
    "huge": (lambda path: path.write_bytes(b"x" * (2**20 + 1)), "KiB, too much for"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "KiB, too much for"),
    "circle": (lambda path: path.symlink_to(path), "cannot read {} (Too many levels of symbolic links)"),
    "below a file": (lambda path: path.parent.rmdir() or path.parent.write_text(""), "(Not a directory)"),
}


@pytest.mark.parametrize(
    "setting", [*(f"TOCSIN_{name.upper()}_FILE" for name in SECRETS), "TOCSIN_CONFIG_FILE"]
)
@pytest.mark.parametrize("case", CASES)
def test_a_file_that_cannot_be_read_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, case: str
) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    make, words = CASES[case]
    make(path)
    monkeypatch.setenv(setting, str(path))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith(f"{setting}: ")
    assert words.format(path) in said
    assert str(path) in said
    assert "\n" not in said
    assert said.endswith(".")


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "mark"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_what_is_in_its_file_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str, mark: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(mark + (SECRET + end).encode())
    monkeypatch.setenv(f"TOCSIN_{name.upper()}_FILE", str(path))
    assert getattr(load_settings(), name).get_secret_value() == SECRET


def test_a_settings_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"web_port = 7000\n")
    settings = load_settings(config_file=path)
    assert (settings.web_port, settings.config_file) == (7000, str(path))


@pytest.mark.parametrize(
    "hidden", ["a\x00b", "a\nb", "a\x1b[0m", "\ufeffab", "a\u200bb", "a\u2028b", "a\x7fb", "ab\x85c"]
)
@pytest.mark.parametrize("name", SECRETS)
def test_characters_that_nobody_sees_are_not_part_of_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, hidden: str
) -> None:
    secret = f"{hidden} and the rest of it"
    path = tmp_path / "file"
    path.write_bytes(
        secret.encode() if not secret.startswith("\ufeff") else codecs.BOM_UTF8 + secret.encode()
    )
    monkeypatch.setenv(f"TOCSIN_{name.upper()}_FILE", str(path))
    with pytest.raises(ConfigurationError, match=rf"^TOCSIN_{name.upper()}_FILE: take out the character U\+"):
        load_settings()
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**{name: secret})
    assert "and the rest" not in str(caught.value)


def test_bytes_of_the_environment_that_are_no_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOCSIN_SASL_PASSWORD", "TOCSIN_SASL_USERNAME", "TOCSIN_DATA_DIR", "TOCSIN_WEB_HOST"):
        with monkeypatch.context() as patch:
            patch.setenv(name, os.fsdecode(b"p\xe4ss"))
            with pytest.raises(ConfigurationError, match=rf"^{name}: "):
                load_settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("web_port = \n", "is not valid TOML"),
        (
            "web_tokn = 'let-me-in'",
            "web_tokn in {}: there is no such setting; write web_token if that is meant.",
        ),
        ("WEB_PORT = 7000", "WEB_PORT in {}: there is no such setting; write web_port if that is meant."),
        ("TOCSIN_WEB_PORT=7000", "there is no such setting; write web_port if that is meant."),
        ("ssl_ca = '/ca'", "ssl_ca in {}: there is no such setting; write ssl_ca_file if that is meant."),
        (
            "web_token_file = '/token'",
            "the file of a secret is named in the environment, as TOCSIN_WEB_TOKEN_FILE.",
        ),
        ("_env_file = 'x'", "_env_file in {}: there is no such setting."),
        ("web_port = 'many'", "web_port in {}: write a whole number from 0 to 65535"),
        ("web_token = 12345678", "web_token in {}: a secret is text"),
        ("web_token = ['let-me-in']", "web_token in {}: a secret is text"),
        ("priorities = 5", "write priorities as critical,error"),
        ("weights = 'critical'", "weights in {}: write weights as"),
        ("a = " + "[" * 20_000, "nested too deep"),
    ],
)
def test_a_settings_file_that_cannot_be_used_gets_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tocsin.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config_file=path)
    said = str(caught.value)
    assert words.format(path) in said
    assert "let-me-in" not in said
    assert "12345678" not in said
    assert "\n" not in said


def test_the_option_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.toml").write_text(f"web_port = {number}\n")
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(tmp_path / "1.toml"))
    assert load_settings().web_port == 1
    assert load_settings(config_file=tmp_path / "2.toml").web_port == 2
    with pytest.raises(ConfigurationError, match=r"^--config: cannot read .*3\.toml"):
        load_settings(config_file=tmp_path / "3.toml")


@pytest.mark.parametrize("setting", ["TOCSIN_WEB_TOKEN_FILE", "TOCSIN_CONFIG_FILE"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(files, "_PIPE_S", 0.05)
    monkeypatch.setenv(setting, str(tmp_path / "pipe"))
    with pytest.raises(ConfigurationError, match="a pipe that nobody wrote to"):
        load_settings()


def test_a_secret_may_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(f"{SECRET}\n", "utf-8"))
    writer.start()
    monkeypatch.setenv("TOCSIN_WEB_TOKEN_FILE", str(path))
    token = load_settings().web_token
    writer.join()
    assert token is not None
    assert token.get_secret_value() == SECRET


def test_a_number_of_thousands_of_digits_gets_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.toml"
    path.write_text("partitions=" + "9" * 5000)
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        load_settings(config_file=path)


@pytest.mark.parametrize("blank", ["\u3164", "\u2800", "\ufe0f", "\u034f", "\uffa0", "x\u3164y"], ids=ascii)
@pytest.mark.parametrize("name", SECRETS)
def test_letters_without_ink_are_no_secret(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", blank)
    with pytest.raises(ConfigurationError, match=f"TOCSIN_{name.upper()}"):
        load_settings()


@pytest.mark.parametrize("words", ["--", "pin,__", "."])
def test_words_without_a_letter_name_no_secret(words: str) -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_MASK_KEYS"):
        load_settings(mask_keys=words)
