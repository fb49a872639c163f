"""What setup.cfg declares and what the package imports are the same, and constraints.txt stays within the bounds."""

from __future__ import annotations

import ast
import configparser
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import zskd

PACKAGE = Path(zskd.__file__).parent
PROVIDERS = packages_distributions()  # reads every installed package, so once
# transformers imports these for tokenizers that are a `.model` file alone.
NOT_IMPORTED = {"sentencepiece", "protobuf"}


def requirements(text: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def names(listed: list[Requirement]) -> list[str]:
    return [canonicalize_name(requirement.name) for requirement in listed]


def declared() -> dict[str, list[Requirement]]:
    """What the package needs (``""``), and what each extra adds, without zskd itself."""
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    texts = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {extra: [found for found in requirements(text) if found.name != "zskd"] for extra, text in texts.items()}


def twice(listed: list[str]) -> list[str]:
    return [name for name, count in Counter(listed).items() if count > 1]


def imported(source: str) -> Iterator[tuple[str, bool]]:
    """Top-level packages beside Python's own and zskd; and whether only a call of a function imports them."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0], lazy
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    return (
        (name, lazy) for name, lazy in walk(ast.parse(source), False) if name not in {*sys.stdlib_module_names, "zskd"}
    )


def undeclared(source: str, core: list[str], extra: list[str]) -> list[str]:
    """Imports of packages that are not declared, and imports of an extra's that run without the extra."""
    found = []
    for name, lazy in imported(source):
        providers = {canonicalize_name(provider) for provider in PROVIDERS.get(name, [name])}
        if not providers & {*core, *extra}:
            found.append(f"{name}: not declared")
        elif not lazy and not providers & {*core}:
            found.append(f"{name}: belongs to an extra, and is imported outside a function")
    return found


def test_no_dependency_is_declared_twice() -> None:
    listed = names([requirement for group in declared().values() for requirement in group])
    assert not twice(listed)
    assert not twice(names(requirements((PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8"))))
    assert twice(names(requirements("Jinja2==3\njinja2==3\nnumpy==2"))) == ["jinja2"]


def test_every_import_is_declared_and_an_extras_waits_for_its_use() -> None:
    groups = declared()
    core, extra = names(groups[""]), names(groups["onnx"])
    wrong = [
        f"{path.relative_to(PACKAGE)}: {problem}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for problem in undeclared(path.read_text(encoding="utf-8"), core, extra)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_wrong_import_would_be_found() -> None:
    def found(source: str) -> list[str]:
        return undeclared(source, ["pyyaml", "scikit-learn"], ["onnx"])

    assert found("import os.path\nimport yaml\nfrom sklearn.metrics import f1_score\nfrom zskd import Task") == []
    assert found("def f():\n    import onnx") == []
    assert found("import onnx.helper") == ["onnx: belongs to an extra, and is imported outside a function"]
    assert found("if True:\n    from onnx import helper") == found("class A:\n    import onnx") == found("import onnx")
    assert found("def f():\n    from no_such_package.a import b") == ["no_such_package: not declared"]


def test_every_dependency_is_imported() -> None:
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    used = {name for source in sources for name, _ in imported(source)}
    providers = {canonicalize_name(provider) for name in used for provider in PROVIDERS.get(name, [])}
    assert set(names(declared()[""])) - providers == NOT_IMPORTED


def test_the_tested_versions_are_within_the_bounds() -> None:
    tested = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in requirements((PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8"))
    }
    bounds = declared()
    for requirement in bounds[""] + bounds["onnx"]:
        version = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: constraints.txt has {version}"
        operators = {bound.operator for bound in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement}: expected a lower and an upper bound"
