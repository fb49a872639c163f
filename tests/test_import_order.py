"""The corridor: no stage imports a later one, no foundation imports a stage, inside functions neither."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zskd

PACKAGE = Path(zskd.__file__).parent
# What stands on a line may import what stands above it; `config` may not import `tasks`, `text` not `teacher`.
ORDER = (
    "errors",
    "system",
    "config",
    "tasks",
    "hub",
    "runs",
    "metrics",
    "models",
    "text",
    "teacher",
    "transfer",
    "student",
    "methods",
    "training",
    "evaluation",
    "inference",
    "diagnosis",
    "report",
    "publish",
    ("finetune", "callbacks", "checks"),
    "stages",
    "pipeline",
    "cli",
)
# The version, and the names of the public API, which load with the first use.
EVERYWHERE = {"zskd.__version__"}


def levels() -> dict[str, int]:
    return {name: i for i, line in enumerate(ORDER) for name in ([line] if isinstance(line, str) else line)}


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "glue_score" not in path.parts]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of zskd that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the order"
            if (node.module or "").partition(".")[0] == "zskd":
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.partition(".")[0] == "zskd")


def wrong_imports(own: str, source: str) -> list[str]:
    """Imports of a module in the room `own` that the order forbids."""
    known = levels()
    found = []
    for line, name in imports(source):
        if name in EVERYWHERE:
            continue
        other = name.split(".")[1]
        if known[other] > known[own]:
            found.append(f"line {line}: {own} imports {name}")
    return found


def test_every_room_has_its_place() -> None:
    rooms = {room(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms == set(levels())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_a_later_stage(path: Path) -> None:
    if room(path) not in ("__init__", "__main__"):  # the public API is made of all of them
        assert wrong_imports(room(path), path.read_text(encoding="utf-8")) == []


def test_a_wrong_import_would_be_found() -> None:
    assert wrong_imports("text", "from zskd.teacher.base import Teacher")
    assert wrong_imports("config", "def f():\n    import zskd.tasks.task")
    assert wrong_imports("system", "if True:\n    from zskd import config as x")
    assert not wrong_imports("teacher", "from zskd.text.shaping import Pools\nimport numpy")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_a_small_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320
