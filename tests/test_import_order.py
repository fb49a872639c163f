"""The corridor: no stage imports a later one, no foundation imports a stage; small rooms, and no two of one name."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

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
    ("finetune", "pretrain", "callbacks", "checks"),
    "stages",
    "pipeline",
    "forecast",
    "cli",
)
# The version, and the packaged YAML files, which are no code.
EVERYWHERE = {"zskd.__version__", "zskd.configs"}
NAME = re.compile(r"zskd\.(\w+(\.\w+)*(:\w+)?)?")
MOST_LINES = 320
# One name, two rooms: a verb and what it calls, a method's options and its code.
TWINS = {
    "diagnose.py": ["cli/diagnose.py", "diagnosis/diagnose.py"],
    "export.py": ["cli/export.py", "inference/export.py"],
    "predict.py": ["cli/predict.py", "inference/predict.py"],
    "feature_prior.py": ["config/methods/feature_prior.py", "methods/feature_prior.py"],
    "messages.py": ["config/methods/messages.py", "methods/messages.py"],
    "uncertainty_mixup.py": ["config/methods/uncertainty_mixup.py", "methods/uncertainty_mixup.py"],
    "selection.py": ["config/methods/selection.py", "methods/selection.py"],
    "roles.py": ["config/methods/roles.py", "methods/roles.py"],
    "anchors.py": ["config/methods/anchors.py", "methods/anchors.py"],
    "backward_pass.py": ["config/methods/backward_pass.py", "methods/backward_pass.py"],
    "inconsistent.py": ["config/methods/inconsistent.py", "methods/inconsistent.py"],
    "class_balance.py": ["config/methods/class_balance.py", "methods/class_balance.py"],
    "table.py": ["config/methods/table.py", "methods/table.py"],
}


def levels() -> dict[str, int]:
    return {name: i for i, line in enumerate(ORDER) for name in ([line] if isinstance(line, str) else line)}


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "glue_score" not in path.parts]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of zskd that a module imports, anywhere in it, by statement or by name.

    A name is a text such as ``"zskd.teacher.base"``, which only `importlib` has a use for.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the order"
            if (node.module or "").partition(".")[0] == "zskd":
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.partition(".")[0] == "zskd")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield node.lineno, node.value


def wrong_imports(own: str, source: str) -> list[str]:
    """Imports of a module in the room `own` that the order forbids."""
    known = levels()
    found = []
    for line, name in imports(source):
        if name in EVERYWHERE:
            continue
        other = (*name.split("."), "")[1].partition(":")[0]
        # `import zskd` alone is the public API, which is made of everything.
        if known.get(other, len(known)) > known[own]:
            found.append(f"line {line}: {own} imports {name}")
    return found


def too_long(lengths: dict[str, int]) -> list[str]:
    """Modules above the limit, the longest first."""
    longest = sorted(lengths.items(), key=lambda item: (-item[1], item[0]))
    return [
        f"{name}: {length} lines, at most {MOST_LINES} are meant" for name, length in longest if length > MOST_LINES
    ]


def twins(paths: list[str]) -> dict[str, list[str]]:
    """Modules in different folders that have one file name, beyond those of `TWINS`: a reader opens the wrong one."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(Path(path).name, []).append(path)
    found = {name: sorted(group) for name, group in by_name.items() if len(group) > 1 and name != "__init__.py"}
    return {name: group for name, group in found.items() if group != sorted(TWINS.get(name, []))}


def test_every_room_has_its_place() -> None:
    rooms = {room(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms == set(levels())


def test_no_module_imports_a_later_stage() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)}, {wrong}"
        for path in modules()
        if room(path) not in ("__init__", "__main__")  # the public API is made of all of them
        for wrong in wrong_imports(room(path), path.read_text(encoding="utf-8"))
    ]
    assert not offenders, "\n".join(offenders)


def test_a_wrong_import_would_be_found() -> None:
    assert wrong_imports("text", "from zskd.teacher.base import Teacher")
    assert wrong_imports("config", "def f():\n    import zskd.tasks.task")
    assert wrong_imports("system", "if True:\n    from zskd import config as x")
    assert not wrong_imports("teacher", "from zskd.text.shaping import Pools\nimport numpy")
    assert wrong_imports("text", "import importlib\nimportlib.import_module('zskd.training.fit')")
    assert wrong_imports("text", "CODE = {'mine': 'zskd.methods.mine:Mine'}")
    assert wrong_imports("text", "importlib.import_module(f'zskd.{stage}')"), "a stage that cannot be read"
    assert wrong_imports("cli", "import zskd")
    assert not wrong_imports("methods", "CODE = {'mine': 'zskd.methods.mine:Mine'}\nlogging.getLogger('zskd')")
    assert not wrong_imports("text", '"See zskd.training.fit."')


def test_a_module_is_a_small_room() -> None:
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert not too_long(lengths), "\n".join(too_long(lengths))
    assert too_long({"a.py": 5, "b.py": 321, "c.py": 900})[0].startswith("c.py: 900 lines")
    assert len(too_long({"a.py": 320, "b.py": 321})) == 1


def test_no_two_modules_of_different_folders_share_a_name() -> None:
    paths = [path.relative_to(PACKAGE).as_posix() for path in modules()]
    assert twins(paths) == {}
    assert twins([*paths, "text/fit.py"]) == {"fit.py": ["text/fit.py", "training/fit.py"]}
    assert twins([path for path in paths if path != "cli/export.py"]) == {}, "one that is gone leaves no twin"
    assert not [name for name, group in TWINS.items() if not set(group) <= set(paths)]


def test_every_package_and_its_files_are_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split()) - {"zskd.configs"}
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}
    assert listed == {".".join(folder.parts) for folder in folders}
    patterns = setup["options.package_data"]["zskd"].split()
    files = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == {path for path in files if path.suffix != ".py"}
    scripts = {path for path in PACKAGE.rglob("*.py") if path.parent.relative_to(PACKAGE.parent) not in folders}
    assert scripts <= files
