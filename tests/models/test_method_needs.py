"""What methods need of models, said before any weights load."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import as_flags, save_model, tiny_bert, word_tokenizer

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS
from zskd.tasks.task import TASKS

ONE_VOCABULARY = [name for name, spec in METHODS.items() if "vocabulary" in spec.needs]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A student with another vocabulary."""
    tokenizer = word_tokenizer(["some words of its own"])
    return save_model(tmp_path / "other", tiny_bert(len(tokenizer), TASKS["sst2"].labels), tokenizer)


@pytest.mark.parametrize("name", ONE_VOCABULARY)
def test_another_vocabulary_is_refused_before_anything_loads(
    cli, name: str, tiny_config: DistillConfig, other: Path
) -> None:
    config = replace(tiny_config, method=[name], student=str(other))
    (problem,) = check(config)
    assert problem.startswith(f"--method {name}: expected --teacher ") and "to share one vocabulary" in problem
    done = cli("distill", *as_flags(config))
    assert done.code == 2 and "use --student build" in done.err and len(done.errors) == 1
    assert check(replace(config, student="build")) == []
    assert check(replace(config, student=config.teacher)) == []


def test_what_files_do_not_say_is_left_to_the_loader(tiny_config: DistillConfig, other: Path) -> None:
    config = replace(tiny_config, method=["anchors"], student=str(other))
    (other / "tokenizer.json").write_text("[", encoding="utf-8")
    assert not any("vocabulary" in problem for problem in check(config))
    (other / "tokenizer.json").write_text('{"model": {"vocab": 3}}', encoding="utf-8")
    assert not any("vocabulary" in problem for problem in check(config))
    assert not any("vocabulary" in problem for problem in check(replace(config, student="someone/model")))


def test_a_method_without_that_need_takes_any(tiny_config: DistillConfig, other: Path) -> None:
    free = [name for name in METHODS if name not in (*ONE_VOCABULARY, "roles")]
    assert "selection" in free
    for name in free:
        assert not any("vocabulary" in line for line in check(replace(tiny_config, method=[name], student=str(other))))
    shutil.rmtree(other)
