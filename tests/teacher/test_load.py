"""What a teacher's name stands for: weights that are frozen, or a callable."""

from __future__ import annotations

from pathlib import Path

import pytest

from zskd.errors import InputError
from zskd.tasks.task import TASKS
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.load import load_teacher

SST2 = TASKS["sst2"]


def ask(texts: list[str]) -> list[list[float]]:
    """Logits of a teacher without weights."""
    return [[0.0, 1.0]] * len(texts)


def test_folder_is_a_model_that_no_training_changes(teacher_folder: Path, tmp_path: Path) -> None:
    found = load_teacher(SST2, str(teacher_folder), tmp_path, None, None)
    assert isinstance(found, Classifier)
    assert not any(parameter.requires_grad for parameter in found.model.parameters()) and not found.model.training


def test_callable_is_asked(tmp_path: Path) -> None:
    found = load_teacher(SST2, ask, tmp_path, None, "negative=positive,positive=negative")
    assert isinstance(found, BlackBox) and (found.ask, found.order) == (ask, (1, 0))


def test_name_of_a_function_is_imported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--teacher builtins:len"):
        load_teacher(SST2, "builtins:len", tmp_path, None, None)  # it answers 3, which is no logits


def test_folder_that_is_spelled_like_a_function_is_a_folder(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models:mine").symlink_to(teacher_folder, target_is_directory=True)
    assert isinstance(load_teacher(SST2, "models:mine", tmp_path, None, None), Classifier)
