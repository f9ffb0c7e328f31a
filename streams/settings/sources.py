"""Where settings come from, and the one sentence for a value that cannot be used."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from streams.settings.errors import ConfigurationError
from streams.settings.files import CONFIG_BYTES, printable, read_secret, read_text
from streams.settings.model import Settings
from streams.settings.wording import likely, may_hold_secret, what_to_write

_PREFIX = "TOCSIN_"
CONFIG_VARIABLE = "TOCSIN_CONFIG_FILE"
#: Characters of a wrong value that a message shows.
_SHOWN = 80


def load_settings(*, config_file: str | os.PathLike[str] | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Args:
        config_file: settings file, in place of the one that ``TOCSIN_CONFIG_FILE`` names.
        overrides: values that win over environment and file, such as command-line options;
            None means not given, and so does an empty text, but for secrets.

    Raises:
        ConfigurationError: with one sentence that says what to change.
    """
    secrets = Settings.secret_names()
    given = {name: value for name, value in overrides.items() if value is not None}
    environment = _environment()
    path, content = _file(config_file)
    #: How a message calls each value: later sources are overruled by earlier ones.
    called: dict[str, str] = {}
    values: dict[str, Any] = {}
    for source, names in (
        (content, {name: f"{printable(name)} in {printable(path)}" for name in content}),
        (environment, {}),
        (_secret_files(given), {name: f"{_variable(name)}_FILE" for name in secrets}),
        (given, {}),
    ):
        for name, value in source.items():
            if isinstance(value, str) and not value.strip():
                if name not in secrets:
                    continue
                # Refused wherever it stands, even where another source has a value.
                raise ConfigurationError(
                    f"{names.get(name, _variable(name))} is set and empty: "
                    "give this secret a value, or unset it."
                )
            values[name] = value
            called[name] = names.get(name, _variable(name))
    if strange := [name for name in content if name not in Settings.model_fields]:
        raise ConfigurationError(_strange(strange[0], path))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, called)) from None
    settings.remember_file(path or None)
    return settings


def _variable(name: str) -> str:
    return f"{_PREFIX}{name.upper()}"


def _strange(name: str, path: str) -> str:
    """What to say of a name in the settings file that is none of a setting."""
    said = f"{printable(name)} in {printable(path)}: there is no such setting"
    plain = name.lower().removeprefix(_PREFIX.lower())
    if (secret := plain.removesuffix("_file")) in Settings.secret_names() and secret != plain:
        return f"{said}; the file of a secret is named in the environment, as {_variable(secret)}_FILE."
    meant = likely(plain, Settings.model_fields)
    return f"{said}; write {meant} if that is meant." if meant else f"{said}."


def _from_environment(variables: Iterable[str]) -> dict[str, str]:
    """The values of those of ``variables`` that are set, whatever the case of their names there."""
    names = {variable.lower(): variable for variable in variables}
    found = {}
    # The name as it is documented wins over one in another case.
    for given in sorted(os.environ, key=lambda each: names.get(each.lower()) == each):
        if (variable := names.get(given.lower())) is not None:
            found[variable] = os.environ[given]
    return found


def _environment() -> dict[str, str]:
    """The settings that are in the environment."""
    names = {_variable(name): name for name in Settings.model_fields}
    return {names[variable]: value for variable, value in _from_environment(names).items()}


def _secret_files(given: Mapping[str, Any]) -> dict[str, str]:
    """The secrets whose files the environment names, unless they were given otherwise."""
    names = {f"{_variable(name)}_FILE": name for name in Settings.secret_names()}
    return {
        names[variable]: read_secret(variable, path)
        for variable, path in _from_environment(names).items()
        if path.strip() and names[variable] not in given
    }


def _file(option: str | os.PathLike[str] | None) -> tuple[str, dict[str, Any]]:
    """Path and content of the settings file; nothing when none is named."""
    setting, path = "--config", str(option or "")
    if not path.strip():
        setting = CONFIG_VARIABLE
        path = _from_environment([CONFIG_VARIABLE]).get(CONFIG_VARIABLE, "")
    if not path.strip():
        return "", {}
    text = read_text(setting, path, limit=CONFIG_BYTES, what="a file of settings")
    try:
        return path, tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one; so is what a number of thousands of digits raises
        raise ConfigurationError(f"{setting}: {printable(path)} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigurationError(f"{setting}: {printable(path)} is nested too deep for settings.") from None


def _sentence(error: ValidationError, called: Mapping[str, str]) -> str:
    secrets = Settings.secret_names()
    parts = []
    for item in error.errors(include_url=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        where = called.get(field, _variable(field))
        message = item["msg"].removeprefix("Value error, ")
        given = item.get("input")
        unknown = item["type"] == "extra_forbidden"
        if unknown:
            message = "there is no such setting"
        elif field in Settings.model_fields:
            message = what_to_write(field, Settings.model_fields[field], item) or message
        # A value may hold a secret that was put where it does not belong.
        hide = unknown or field in (*secrets, "brokers", "sasl_oauth_token_url", "driver_options")
        hide = hide or (isinstance(given, str) and may_hold_secret(given))
        shown = ""
        if not hide and isinstance(given, str | int | float):
            text = json.dumps(given)
            shown = f" (given: {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'})"
        parts.append(f"{where}: {message}{shown}" if field else message)
    return "; ".join(parts) + "."
