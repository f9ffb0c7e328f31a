"""What is looked for in documents: links that lead nowhere; files, settings, commands, metrics that are none.

Each check takes texts and what there is, and returns a line for each fault. `test_checks` feeds it faults.
"""

from __future__ import annotations

import importlib.util
import posixpath
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from streams.settings import SECRETS
from tests.paths import ROOT

#: Folders of the checkout that a path in a document may begin with.
FOLDERS: Final = ("tocsin", "agents", "tables", "streams", "tests", "deploy", "docs", "requirements", ".ci")
_RELEASE: Final = re.compile(r"^## \[\d", re.MULTILINE)
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PATH: Final = re.compile(r"(?<![\w./:@<>-])\.{0,2}[\w-]+(?:/[\w.*-]+)*(?:/|\.\w+|/[\w-]+)(?![\w<>{])")
_SETTING: Final = re.compile(r"(?<!_)TOCSIN_[A-Z0-9_]+(?![A-Z0-9_*])(?!\*)")
_METRIC: Final = re.compile(r"\btocsin_[a-z0-9_]+\b")
_INLINE: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_MAKE: Final = re.compile(r"\bmake ((?:[A-Z_]+=\S+ )*)([a-z][a-z-]*)")
_MODULE: Final = re.compile(r"(?:python -m|faust -A) ([\w.]+)")


def documents() -> dict[str, str]:
    """Path -> text of every document; of the changelog, what is not released yet: the rest is history."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(paths)}
    texts["CHANGELOG.md"] = _RELEASE.split(texts["CHANGELOG.md"])[0]
    return texts


# ---------------------------------------------------------------- links and paths


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number, unique = 0, slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def broken_links(texts: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Links between documents, and to files, that lead nowhere. Addresses outside are not looked at."""
    faults = []
    for name, text in texts.items():
        for target in _LINK.findall(_FENCE.sub("", text)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            place = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if not (root / place).exists():
                faults.append(f"{name}: {target} is not there")
            elif anchor and anchor not in anchors(texts.get(place, "")):
                faults.append(f"{name}: {target} has no such heading")
    return faults


def missing_paths(texts: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Files and folders that a document names, anywhere in it, and that are not there."""
    faults = []
    for name, text in texts.items():
        beside = (root / name).parent
        for found in sorted({match[0] for match in _PATH.finditer(_LINK.sub("", text))}):
            first = found.split("/")[0]
            if "/" in found:
                bases = [base for base in (root, beside) if _begins(base, first, root)]
            else:  # a file's name alone: only where it looks like one of the checkout
                bases = [root, beside] if found.endswith((".md", ".toml")) else []
            if bases and not any(_is_there(base, found) for base in bases):
                faults.append(f"{name}: {found} is not there")
    return faults


def _begins(base: Path, first: str, root: Path) -> bool:
    return first in FOLDERS if base == root else (base / first).is_dir()


def _is_there(base: Path, path: str) -> bool:
    return any(base.glob(path.rstrip("/"))) if "*" in path else (base / path).exists()


def missing_modules(texts: Mapping[str, str]) -> list[str]:
    """Modules that are run by name, as in ``python -m tests.chaos``, and that are not there."""
    return [
        f"{name}: there is no module {module}"
        for name, text in texts.items()
        for module in sorted(set(_MODULE.findall(text)))
        if module.split(".")[0] in FOLDERS and not _is_module(module)
    ]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# ---------------------------------------------------------------- names of the product


def unknown_settings(texts: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """``TOCSIN_*`` names that are no settings; ``settings`` are the names of the fields."""
    known = {f"TOCSIN_{name.upper()}" for name in settings}
    known |= {f"TOCSIN_{name.upper()}_FILE" for name in (*SECRETS, "CONFIG")}
    return [
        f"{name}: there is no setting {found}"
        for name, text in texts.items()
        for found in sorted(set(_SETTING.findall(text)) - known)
    ]


def unknown_metrics(texts: Mapping[str, str], metrics: Collection[str]) -> list[str]:
    """``tocsin_*`` names that are no metrics."""
    return [
        f"{name}: there is no metric {found}"
        for name, text in texts.items()
        for found in sorted(set(_METRIC.findall(text)) - set(metrics))
    ]


def unknown_targets(texts: Mapping[str, str], makefile: str) -> list[str]:
    """Targets of ``make``, in code, that the Makefile does not have."""
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    return [
        f"{name}: there is no make {target}"
        for name, text in texts.items()
        for piece in _code(text)
        for _, target in _MAKE.findall(piece)
        if target not in known
    ]


def unknown_commands(texts: Mapping[str, str], cli: click.Group) -> list[str]:
    """Uses of ``tocsin`` in code that name a command or an option which is none."""
    faults = []
    for name, text in texts.items():
        for piece in _code(text):
            for line in piece.splitlines():
                words = shlex.split(line, comments=True) if "tocsin " in line and _is_use(line) else []
                words = [word for word in words if word not in ("|", "&&")]
                if words and (fault := _fault(words[1:], cli)):
                    faults.append(f"{name}: {line.strip()}: {fault}")
    return faults


def _is_use(line: str) -> bool:
    return (
        bool(re.match(r"\s*(\.venv/bin/)?tocsin [a-z-]", line))
        and line.count("'") % 2 == line.count('"') % 2 == 0
    )


def _fault(words: list[str], command: click.Command) -> str | None:
    context = click.Context(command, info_name="tocsin")
    for word in words:
        if word.startswith(("[", "<")) or word.isupper():
            continue
        if word.startswith("-") and word != "-":
            options = {
                opt for each in command.get_params(context) for opt in (*each.opts, *each.secondary_opts)
            }
            if word.split("=")[0] not in options:
                return f"{context.command_path} has no {word}"
        elif isinstance(command, click.Group):
            child = command.get_command(context, word)
            if child is None:
                return f"{context.command_path} has no command {word}"
            context, command = click.Context(child, info_name=word, parent=context), child
    return None


def _code(text: str) -> Iterator[str]:
    """What stands in code: fenced blocks of shell, and between backticks."""
    for language, block in _FENCE.findall(text):
        if language in ("", "sh", "bash"):
            yield block
    yield from _INLINE.findall(_FENCE.sub("", text))


def undocumented(names: Collection[str], text: str) -> list[str]:
    """Names that a document does not have between backticks."""
    there = {word for piece in _INLINE.findall(text) for word in (piece, *piece.split())}
    return sorted(name for name in names if name not in there)
