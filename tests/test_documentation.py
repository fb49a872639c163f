"""The Python code of README and docs runs: what a reader copies works, with names replaced by tiny models."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_bert
from hub_server import HubServer
from labelled_rows import prose

import zskd

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
HOWTO = {f"docs/howto/{name}.md" for name in ("black-box", "own-teacher", "two-texts")}
TESTED = {"README.md", "docs/index.md", "docs/publishing.md", "docs/trainer.md", *HOWTO}
# Options of a small run.
SMALL = "pool_size=320, heldout=32, batch_size=32, epochs=1.0, checkpoints=1, run_dir='runs/own'"


def blocks(name: str) -> list[str]:
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


def run(name: str, found: dict[str, Any], replaced: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the blocks of a document one after the other, as a reader would; every replacement has to be needed."""
    code = "\n".join(blocks(name))
    for old, new in (replaced or {}).items():
        assert old in code, f"{name} no longer has {old}"
        code = code.replace(old, new)
    exec(compile(code, name, "exec"), found)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher_folder: Path, corpus_file: Path) -> Path:
    """A working folder with the teacher as ``my-teacher`` and ``my-classifier``, and ``my-text.txt``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "cache"))
    for name in ("my-teacher", "my-classifier"):
        shutil.copytree(teacher_folder, tmp_path / name)
    shutil.copy(corpus_file, tmp_path / "my-text.txt")
    return tmp_path


def test_every_document_with_code_is_tested() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "MIGRATION.md", *(ROOT / "docs").rglob("*.md")]
    with_code = {str(path.relative_to(ROOT)) for path in documents if "```python" in path.read_text(encoding="utf-8")}
    assert with_code == TESTED


def test_readme(folder: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "first").symlink_to(finished_run)
    names = {"my_texts": prose(150)}
    found = run("README.md", names, {"texts=my_texts)": f"texts=my_texts, compression=2.0, {SMALL})"})
    assert 0 <= found["result"].metrics["agreement"] <= 1
    assert (folder / "my-student" / "model.safetensors").is_file()
    assert re.search(r"'label': '(negative|positive)'", capsys.readouterr().out)


def test_docs_index(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("docs/index.md", {}, {"texts=texts)": f"texts=texts, compression=2.0, {SMALL})"})
    assert (
        capsys.readouterr().out == f"{found['result'].metrics['agreement']} {found['result'].metrics['compression']}\n"
    )
    assert zskd.load_teacher(zskd.TASKS["sst2"], "my-student").num_labels == 2


def test_docs_own_teacher(folder: Path) -> None:
    small = SMALL.replace("runs/own", "runs/mine")
    found = run("docs/howto/own-teacher.md", {}, {'run_dir="runs/mine"\n': f"compression=2.0, {small}\n"})
    assert found["result"].run_dir == Path("runs/mine") and 0 <= found["result"].metrics["agreement"] <= 1


def test_docs_two_texts(folder: Path) -> None:
    task = run("docs/howto/two-texts.md", {})["task"]
    assert task.is_pair and task.labels == ("different", "duplicate")


def test_docs_black_box(folder: Path, student_folder: Path) -> None:
    # The packaged start's tokenizer is its backbone's, which would be fetched.
    small = f"student={str(student_folder)!r}, query_budget=400, max_class_share=1.0, {SMALL}"
    replaced = {"query_budget=5000": small}
    found = run("docs/howto/black-box.md", {}, replaced)
    assert found["ask"](["it does not work", "fine"]) == ["complaint", "other"]
    assert 0 < found["result"].metrics["query_budget"]["spent"] <= 400


def test_docs_trainer(folder: Path) -> None:
    program = [line for line in blocks("docs/trainer.md")[0].splitlines() if line]
    assert len(program) <= 20, "README says so"
    teacher = zskd.load_teacher(zskd.TASKS["sst2"], "my-teacher")
    tiny_bert(len(teacher.tokenizer), zskd.TASKS["sst2"].labels, hidden=16, seed=4).save_pretrained("my-student")
    replaced = {"max_steps=200": "max_steps=6, report_to='none', save_strategy='no'", "n_trials=20": "n_trials=2"}
    made: list[zskd.ZeroShotTrainer] = []

    class Noted(zskd.ZeroShotTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(zskd), "ZeroShotTrainer", Noted)
        found = run("docs/trainer.md", {}, replaced)
    program_trainer, similar, search, own = made
    assert program_trainer.state.global_step == 6 and program_trainer.seam.methods[0].queries > 0
    assert (folder / "my-distilled-student" / "model.safetensors").is_file()
    assert similar.distillation_loss().name == "kd-pt+sim"
    assert 1.0 <= found["best"].hyperparameters["temperature"] <= 8.0 and search.state.global_step == 6
    assert [method.name for method in own.seam.methods] == ["small-logits"] and own.state.global_step == 6
    assert found["adversary"].options.fresh_share == 0.25
    assert found["stock"].state.global_step == 6 and "agreement" in str(found["stock"].state.log_history)


def test_docs_publishing(folder: Path, hub: HubServer) -> None:
    teacher = zskd.load_teacher(zskd.TASKS["sst2"], "my-teacher")
    trainer = zskd.ZeroShotTrainer(
        tiny_bert(len(teacher.tokenizer), zskd.TASKS["sst2"].labels, hidden=16),
        zskd.ZeroShotArguments("out", max_steps=1, report_to="none", save_strategy="no", use_cpu=True),
        train_dataset=zskd.transfer_rows(teacher, (prose(16),), max_length=32),
        processing_class=teacher.tokenizer,
    )
    run("docs/publishing.md", {"zskd": zskd, "trainer": trainer})
    assert ("models", "me/my-classifier") in hub.repos


# Not in the table of hooks, but in the text around it; `save` and `load` are for methods with large state.
NO_HOOKS = {
    "coupling",
    "row_share",
    "learning_rate",
    "save",
    "load",
    "files",
    "card",
    "callbacks",
    "queries",
    "stopped",
}


def test_the_hooks_are_documented_in_their_order() -> None:
    text = (ROOT / "docs" / "trainer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+\(.*?`) \|", text, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)\(", row)]
    defined = [name for name, item in vars(zskd.Method).items() if callable(item) or isinstance(item, property)]
    assert listed == [name for name in defined if name not in NO_HOOKS]
    assert all(f"`{name}" in text for name in NO_HOOKS - {"save", "load"})


def test_migration_names_modules_that_exist_and_no_others() -> None:
    text = (ROOT / "MIGRATION.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(zskd[\w.]+)` \| (.*) \|$", text.split("## Where")[1], re.MULTILINE)
    assert len(table) > 50
    for before, now in table:
        for name in re.findall(r"`(zskd[\w.]+)`", now):
            assert importlib.util.find_spec(name) is not None, name
        moved = ROOT / f"{before.replace('.', '/')}.py"
        assert not moved.exists(), f"{before} is still there"
