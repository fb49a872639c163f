"""English prose that is already on the machine: documentation strings of installed Python packages.

Source files are parsed with `ast` and never imported. zskd's own files are left out.
"""

from __future__ import annotations

import ast
import gc
import importlib.metadata
import importlib.util
import inspect
import platform
import re
import sysconfig
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zskd.system.progress import At, nowhere

# Run-time dependencies of zskd, direct and indirect, whose documentation contains much prose.
PACKAGES = (
    "numpy",
    "pandas",
    "sklearn",
    "scipy",
    "networkx",
    "datasets",
    "huggingface_hub",
    "peft",
    "accelerate",
)
DISTRIBUTIONS = {"sklearn": "scikit-learn"}

_SKIPPED_FOLDERS = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "testing",
    "idlelib",
    "lib2to3",
    "__pycache__",
}
_BLOCKS = frozenset({"body", "handlers", "orelse", "finalbody", "cases"})  # where statements hold others
_ROLE = re.compile(r":[\w:+.-]+:`~?([^`<]*?)(?:\s*<[^`>]*>)?`")
_LITERAL = re.compile(r"`{1,2}([^`]+)`{1,2}_?_?|\*{1,2}([^*]+)\*{1,2}")
_CODE = re.compile(r"[_{}<>=|\\/@#$^~\[\]]|\w\.\w+\.\w|\w\(|::|\.\.")
_ITEM = re.compile(r"^([-*+•]|\d+[.)]|:\w|>>>|\.\. |@)")


def versions() -> dict[str, str]:
    """Versions of the packages that are read; the corpus changes with any of them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(DISTRIBUTIONS.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source_files() -> Iterator[Path]:
    roots = [Path(sysconfig.get_path("stdlib"))]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            roots.append(Path(spec.origin).parent)
    for root in roots:
        yield from _files_below(root)


def _files_below(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        if not _SKIPPED_FOLDERS & set(path.relative_to(root).parts[:-1]):
            yield path


def docstrings(source: str) -> Iterator[str]:
    """Documentation strings of a module, its classes and functions, without their indentation."""
    with _no_collection():
        found = _raw_docstrings(source)
    yield from map(inspect.cleandoc, found)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for cycles meanwhile: a syntax tree has none, but so many nodes that half the time would go into it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _raw_docstrings(source: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    found = []
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                value = first.value.value
                if isinstance(value, str):
                    found.append(value)
    return found


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """In the order of `ast.walk`, which visits expressions too, by far the most nodes."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        for name in node._fields:
            if name in _BLOCKS:
                waiting.extend(getattr(node, name))
        yield node


def prose(docstring: str) -> Iterator[str]:
    """Paragraphs of running text; headings, lists of parameters, tables, examples and code are dropped."""
    for block in re.split(r"\n\s*\n", docstring):
        lines = [line.strip() for line in block.splitlines()]
        if not lines or any(_ITEM.match(line) for line in lines) or any(set(line) <= set("-=~^ ") for line in lines):
            continue
        if block.startswith((" ", "\t")) and len(lines) < 2:
            continue
        text = _ROLE.sub(r"\1", " ".join(lines))
        text = _LITERAL.sub(lambda match: match[1] or match[2], text)
        yield text


def is_plain(sentence: str) -> bool:
    """True for a full sentence without identifiers, code or markup."""
    return sentence[0].isalpha() and sentence[-1] in ".!?" and sentence.count(" ") >= 3 and not _CODE.search(sentence)


def embedded_documents(at: At = nowhere) -> Iterator[str]:
    """One text per documentation string, made of its plain sentences in order.

    Args:
        at: is told how many source files have been read.
    """
    yield from _documents(list(_source_files()), at)


def package_documents(name: str) -> Iterator[str]:
    """As `embedded_documents`, for one installed package or subpackage, whether or not it is in `PACKAGES`.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name}: no such package with source files is installed")
    yield from _documents(list(_files_below(Path(spec.origin).parent)))


def _documents(paths: Sequence[Path], at: At = nowhere) -> Iterator[str]:
    from zskd.text.sentences import split_sentences

    for number, path in enumerate(paths):
        at(number, len(paths), "file")
        try:
            strings = list(docstrings(path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue  # a template, or a file for another Python version
        for docstring in strings:
            kept = [s for block in prose(docstring) for s in split_sentences(" ".join(block.split())) if is_plain(s)]
            if kept:
                yield " ".join(kept)
