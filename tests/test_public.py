"""What `import zskd` offers: complete, cheap, typed, documented by examples that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_bert

import zskd
from zskd.methods.adversarial.generator import build_generator
from zskd.teacher.classifier import Classifier

PACKAGE = Path(zskd.__file__).parent
# Handed to hooks and never made by a user: the module that makes them has the example.
HANDED_OUT = {"LiveTeacher", "Run", "Training"}
DATA = {"TASKS"}
CODE = sorted(set(zskd.__all__) - DATA - {"__version__"})


def test_the_lists_of_public_names_agree() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        (alias.asname, item.module) for item in block.body if isinstance(item, ast.ImportFrom) for alias in item.names
    }
    assert typed == set(zskd._PUBLIC.items())
    assert {*zskd._PUBLIC, "__version__"} == set(zskd.__all__)
    assert set(zskd.__all__) <= set(dir(zskd))
    for name, module in zskd._PUBLIC.items():
        found = getattr(zskd, name)
        assert getattr(found, "__module__", module) == module, "defined where the list says"
    with pytest.raises(AttributeError, match="no attribute 'destill'"):
        zskd.destill  # noqa: B018


def test_every_module_can_be_imported_and_distill_is_still_a_function() -> None:
    names = [found.name for found in pkgutil.walk_packages([str(PACKAGE)], "zskd.")]
    assert len(names) > 100
    for name in names:
        if not name.startswith("zskd.metrics.glue_score"):  # loaded by `evaluate`, from its path
            importlib.import_module(name)
    assert callable(zskd.distill) and not inspect.ismodule(zskd.distill)
    assert "zskd.distill" not in sys.modules


def test_importing_is_cheap_and_types_are_shipped() -> None:
    code = """
import sys, time
start = time.perf_counter()
import zskd
dir(zskd)
heavy = ("torch", "transformers", "numpy", "datasets")
print(time.perf_counter() - start, [name for name in heavy if name in sys.modules])
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds = min(float(run.stdout.split()[0]) for run in runs)
    assert seconds < 0.1, "it takes about 5 ms"
    assert runs[0].stdout.split(maxsplit=1)[1].strip() == "[]"
    assert (PACKAGE / "py.typed").is_file()
    assert "py.typed" in (PACKAGE.parent / "setup.cfg").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def globs(teacher: Classifier) -> dict[str, Any]:
    """What an example may say is there already."""
    torch.manual_seed(0)
    texts = [f"the {word} film was {how}" for word in ("first", "second", "old", "new") for how in ("fine", "dull")]
    ids = torch.tensor([[2, 9, 10, 3], [2, 11, 3, 0]])
    return {
        "teacher": teacher,
        "tokenizer": teacher.tokenizer,
        "student": tiny_bert(len(teacher.tokenizer), ("negative", "positive"), hidden=16, seed=4),
        "generator": build_generator(teacher),
        "texts": texts,
        "ids": ids,
        "mask": (ids != 0).long(),
    }


def run_example(example: doctest.DocTest) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    runner.run(example, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)


@pytest.mark.parametrize("name", CODE)
def test_a_public_name_says_what_it_is_with_an_example_that_runs(
    name: str, globs: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "cache"))
    thing = getattr(zskd, name)
    document = inspect.getdoc(thing) or ""
    assert len(document.splitlines()[0]) > 15
    if name in HANDED_OUT:
        return
    names = dict(globs, run_dir=request.getfixturevalue("finished_run")) if name == "Result" else globs
    module = sys.modules[thing.__module__]
    examples = doctest.DocTestFinder(recurse=False).find(thing, name, module, {**vars(module), **names})
    assert examples and examples[0].examples, "an example, please"
    for example in examples:
        run_example(example)


@pytest.mark.parametrize("name", sorted(set(zskd._PUBLIC.values())))
def test_other_examples_of_these_modules_run(
    name: str, globs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "cache"))
    module = importlib.import_module(name)
    for example in doctest.DocTestFinder().find(module, name, module, {**vars(module), **globs}):
        if example.examples and example.name.removeprefix(f"{name}.") not in CODE:
            run_example(example)


def parameters(thing: Callable[..., Any]) -> list[str]:
    """The names of what a caller gives; dataclasses name theirs as attributes."""
    found = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters
    return [name for name, item in found.items() if name != "self" and item.kind not in (item.VAR_POSITIONAL,)]


# Their fields are options, whose help text stands beside each.
OPTIONS = {name for name in CODE if name.endswith("Options")} | {"DistillConfig", "ZeroShotArguments"}


@pytest.mark.parametrize("name", sorted(set(CODE) - OPTIONS - {"Method", "RunError", "ZskdError", "Teacher"}))
def test_every_argument_is_described(name: str) -> None:
    thing = getattr(zskd, name)
    document = inspect.getdoc(thing) or ""
    described = {word for line in document.splitlines() if ":" in line for word in line.partition(":")[0].split(", ")}
    described = {word.strip() for word in described}
    missing = [
        item for item in parameters(thing) if item not in described and item not in ("args", "kwargs", "changes")
    ]
    assert not missing
