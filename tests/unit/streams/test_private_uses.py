"""Private parts of Faust, mode, aiokafka and rocksdict are used in ``streams/upstream/`` alone.

Told by the text: which object an attribute is of is not known, so each private one counts whose module does
not define it itself. Modules of the libraries that are no public interface count, too.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

PACKAGES = ("tocsin", "agents", "tables", "streams")
LIBRARIES = ("faust", "mode", "aiokafka", "rocksdict")
#: What the libraries document, or export by ``__all__``.
PUBLIC_MODULES = {
    "faust",
    "faust.app",
    "faust.types",
    "faust.worker",
    "aiokafka",
    "aiokafka.abc",  # token providers
    "aiokafka.admin",
    "aiokafka.admin.config_resource",  # what a public method of the admin client takes
    "aiokafka.errors",
    "aiokafka.helpers",
    "aiokafka.partitioner",  # the hash that all clients of Kafka choose partitions by
    "aiokafka.structs",
    "rocksdict",
}
#: Private attributes of objects that are of no library, by module.
OWN = {
    # Of the standard library.
    ("streams/publishing/buffered.py", "getattr(threading, '_register_atexit', atexit.register)"),
    # Exported by asyncio.events for those who write event loops.
    ("streams/publishing/surroundings.py", "events._get_running_loop"),
    ("streams/publishing/surroundings.py", "events._set_running_loop"),
    ("tocsin/app.py", "os._exit"),  # public in all but its name
}
_BY_NAME = ("getattr", "setattr", "hasattr", "delattr")


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def defined_in(tree: ast.AST) -> set[str]:
    """Private names that a module gives to its classes, to ``self``, or as slots."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
                found.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def library_of(module: str | None) -> bool:
    """Whether a module is of one of the libraries."""
    return module is not None and module.partition(".")[0] in LIBRARIES


def private_uses(text: str, inherited: set[str] = frozenset()) -> Iterator[str]:  # type: ignore[assignment]
    """What a module uses that may be private to one of the libraries.

    Args:
        text: of the module.
        inherited: private names that classes of ours give to ``self`` in other modules.
    """
    tree = ast.parse(text)
    own = defined_in(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            of_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            if not (of_self and node.attr in inherited):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value not in own:
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and library_of(node.module):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module not in PUBLIC_MODULES or any(is_private(alias.name) for alias in node.names):
                yield from names
        elif isinstance(node, ast.Import):
            yield from (
                alias.name
                for alias in node.names
                if library_of(alias.name) and alias.name not in PUBLIC_MODULES
            )


def modules() -> dict[str, str]:
    """Path and text of all modules outside ``streams/upstream/``."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return {
        name: path.read_text(encoding="utf-8")
        for name, path in zip(names, paths, strict=True)
        if not name.startswith("streams/upstream/")
    }


def test_private_parts_are_used_in_one_folder() -> None:
    texts = modules()
    assert len(texts) > 100
    inherited = {name for text in texts.values() for name in defined_in(ast.parse(text))}
    found = {(name, use) for name, text in texts.items() for use in private_uses(text, inherited)}
    assert found == OWN


@pytest.mark.parametrize(
    ("line", "use"),
    [
        ("producer._sender.close()", "producer._sender"),
        ("self._producer._sender = None", "self._producer._sender"),
        ("super()._commit(offsets)", "super()._commit"),
        ("self._acked.clear()", "self._acked"),
        ("getattr(consumer, '_coordinator', None)", "getattr(consumer, '_coordinator', None)"),
        ("setattr(fetcher, '_fetch_max_wait_ms', 1)", "setattr(fetcher, '_fetch_max_wait_ms', 1)"),
        ("from aiokafka.codec import _detect_xerial_stream", "aiokafka.codec._detect_xerial_stream"),
        ("from aiokafka import _private", "aiokafka._private"),
        ("from faust.tables.recovery import Recovery", "faust.tables.recovery.Recovery"),
        ("import aiokafka.consumer.fetcher", "aiokafka.consumer.fetcher"),
        ("from mode.services import Service", "mode.services.Service"),
    ],
)
def test_each_kind_of_private_use_is_found(line: str, use: str) -> None:
    """The negative control, beside what is allowed."""
    text = f"""
import aiokafka
from faust.types import TP
from aiokafka.errors import KafkaError

class Ours:
    _kept = None
    def __init__(self):
        self._producer = aiokafka.AIOKafkaProducer()
    def close(self, other):
        {line}
        return self._producer, other._kept, self._inherited, self.__class__
"""
    assert list(private_uses(text, {"_inherited"})) == [use]


def upstream_subclasses() -> Iterator[type]:
    """Classes outside ``streams/upstream/`` that are made from one of a library."""
    for name in modules():
        text = (ROOT / name).read_text(encoding="utf-8")
        if "streams.upstream" not in text and not any(library in text for library in LIBRARIES):
            continue
        loaded = importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for kind in vars(loaded).values():
            made_here = inspect.isclass(kind) and kind.__module__ == loaded.__name__
            if made_here and any(library_of(base.__module__) for base in kind.__mro__):
                yield kind


def overrides(kind: type) -> set[str]:
    """Private names of a class that stand for others in the classes it is made from."""
    own = {name for name in vars(kind) if is_private(name)} - {"_abc_impl"}
    return {name for name in own if any(name in vars(base) for base in kind.__mro__[1:])}


def test_no_class_outside_overrides_a_private_method_of_a_library() -> None:
    kinds = list(upstream_subclasses())
    assert "TocsinApp" in {kind.__name__ for kind in kinds}
    assert {kind.__name__: overrides(kind) for kind in kinds if overrides(kind)} == {}


def test_an_override_is_found() -> None:
    """The negative control."""
    import faust

    class Crashing(faust.App):
        def _crash(self, reason: BaseException) -> None:
            """Do nothing."""

    assert overrides(Crashing) == {"_crash"}
