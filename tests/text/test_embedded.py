"""Prose out of documentation strings: what is read, what is left out, and that nothing is ever imported."""

from __future__ import annotations

import ast
import gc
import sys
from pathlib import Path

import pytest

import zskd
from zskd.text import embedded
from zskd.text.embedded import PACKAGES, docstrings, embedded_documents, is_plain, prose, versions

SOURCE = '''
"""Module text of one line."""
import does_not_exist

class Thing:
    """Class text.

    Second paragraph of the class.
    """

    limit = "no documentation"

    async def act(self):
        """Method text."""
        """A later string is no documentation."""

def plain():
    return "neither is this"

def number():
    42
'''


def test_docstrings_of_module_classes_and_functions() -> None:
    assert sorted(docstrings(SOURCE)) == [
        "Class text.\n\nSecond paragraph of the class.",
        "Method text.",
        "Module text of one line.",
    ]


@pytest.mark.parametrize("source", ["", "# only a comment\n", "x = 1\n"])
def test_no_docstrings(source: str) -> None:
    assert list(docstrings(source)) == []


DOCSTRING = """Compute the median of a list
of numbers.

Use it where :class:`~package.Average` or :func:`mean` is **too** sensitive, as in ``a`` or `b`.

Parameters
----------
x : array
    The numbers.

:param x: The numbers.

- a point of a list
- another point

1. First step.
2) Second step.

* A bullet that is a full sentence of text.

>>> median([1, 2, 3])
2

.. note:: A directive of some kind.

    indented_code = 1

@deprecated: use another one.

===== =====
a     b
===== =====

The last paragraph stays."""


def test_prose_keeps_paragraphs_and_drops_what_is_none() -> None:
    assert list(prose(DOCSTRING)) == [
        "Compute the median of a list of numbers.",
        "Use it where package.Average or mean is too sensitive, as in a or b.",
        "The last paragraph stays.",
    ]


PLAIN = {
    "The function returns the mean of all values.": True,
    "Is this the way it works?": True,
    "Too short.": False,
    "no end mark in this sentence": False,
    "'Quoted' text at the very start is left out.": False,
    "42 is not a letter at the start.": False,
    "It calls some_function with the values.": False,
    "It sets x = 3 for the user here.": False,
    "It returns a[0] when it is asked.": False,
    "It opens /etc/hosts and reads the names.": False,
    "Call close() when the work is done.": False,
    "See package.module.name for all of this.": False,
    "Write to someone@example.com about this matter.": False,
    "The type is std::vector in all cases.": False,
    "It costs 5 $ in most of the shops.": False,
}


@pytest.mark.parametrize("sentence, plain", PLAIN.items())
def test_plain_sentences_hold_no_code(sentence: str, plain: bool) -> None:
    assert is_plain(sentence) is plain


def test_zskd_is_not_among_the_packages() -> None:
    assert not any("zskd" in name for name in (*PACKAGES, *versions()))
    package = Path(zskd.__file__).parent
    assert not any(path.is_relative_to(package) for path in embedded._source_files())


def test_versions_name_python_and_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "datasets"} <= set(found) <= {"python", *PACKAGES}
    monkeypatch.setattr(embedded, "PACKAGES", (*PACKAGES, "no_such_package_here"))
    assert versions() == found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library and one package that must not be imported."""
    files = {
        "stdlib/shelf.py": '"""Persistent objects are kept on a shelf. Call shelf.open() first."""',
        "stdlib/broken.py": '"""This file does not parse at all."""\ndef (:',
        "stdlib/latin.py": b'"""Bytes that are no text \xe9\xe8 at all."""',
        "stdlib/test/test_shelf.py": '"""Documentation of a test that nobody reads."""',
        "stdlib/site-packages/other/__init__.py": '"""Another package that nobody named here."""',
        "site/zz_fake_package/__init__.py": '"""The package greets whoever asks for it."""\nraise SystemExit',
        "site/zz_fake_package/deep/part.py": '"""A part says\nsomething of its own.\n\n- not this item"""',
        "site/zz_fake_package/tests/test_part.py": '"""Documentation of another test of it."""',
        "site/zz_fake_package/data.txt": '"""A text file is not read here."""',
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(embedded, "PACKAGES", ("zz_fake_package", "zz_not_installed"))
    monkeypatch.setattr(embedded.sysconfig, "get_path", lambda name: str(tmp_path / name))
    return tmp_path


def test_documents_are_the_plain_sentences_of_each_docstring(machine: Path) -> None:
    expected = [
        "Persistent objects are kept on a shelf.",
        "The package greets whoever asks for it.",
        "A part says something of its own.",
    ]
    assert list(embedded_documents()) == expected


def test_nothing_is_imported(machine: Path) -> None:
    before = set(sys.modules)
    assert list(embedded_documents())
    assert "zz_fake_package" not in sys.modules
    assert {name for name in set(sys.modules) - before if not name.startswith("zskd.")} == set()


NESTED = '''
"""Module."""
if flag:
    def late():
        """Below `if`."""
else:
    def otherwise():
        """Below `else`."""
try:
    class First:
        """Below `try`."""
except ValueError:
    def caught():
        """Below `except`."""
else:
    def fine():
        """Below the `else` of `try`."""
finally:
    async def last():
        """Below `finally`."""
match flag:
    case 1:
        def matched():
            """Below `case`."""
for each in many:
    with each:
        def deep():
            """Below `for` and `with`."""
def early():
    """Above all of them."""
    return lambda: "no documentation"
'''


def test_documentation_strings_come_in_the_order_of_ast_walk() -> None:
    """The corpus has their order, so that every cached pool depends on it."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(NESTED)) if isinstance(node, kinds)]
    expected = [text for node in nodes if (text := ast.get_docstring(node))]
    assert len(expected) == 10
    assert expected[1] == "Above all of them."
    assert list(docstrings(NESTED)) == expected


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    during: list[bool] = []

    def parse(source: str) -> ast.Module:
        during.append(gc.isenabled())
        return compile(source, "<test>", "exec", ast.PyCF_ONLY_AST)

    monkeypatch.setattr(embedded.ast, "parse", parse)
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        assert list(docstrings('"""Text."""')) == ["Text."]
        with pytest.raises(SyntaxError):
            list(docstrings("def"))
        after = gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()
    assert during == [False, False]
    assert after is enabled
