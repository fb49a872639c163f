"""A teacher that spoils its students: it contradicts a usual one, keeps its class, and goes on where it was ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import as_flags, tiny_bert, word_tokenizer
from labelled_rows import glue_folder

from zskd.cli.finetune import problems
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError
from zskd.finetune import finetune
from zskd.finetune.undistillable import MOST, Contradiction
from zskd.metrics.divergence import kl_divergence
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import load_classifier

MNLI = TASKS["mnli"]


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return glue_folder(tmp_path_factory.mktemp("glue"), MNLI, count=120)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, glue: Path) -> Path:
    folder = tmp_path_factory.mktemp("base")
    rows = read_labelled(MNLI, str(MNLI.train_file(glue)))
    tokenizer = word_tokenizer([*rows.texts[0], *rows.texts[1]])
    tiny_bert(len(tokenizer), MNLI.labels).bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, base: Path, glue: Path) -> FinetuneConfig:
    """A usual teacher, trained."""
    folder = tmp_path_factory.mktemp("usual")
    config = FinetuneConfig(
        task="mnli", base=str(base), full=True, glue_dir=str(glue), selection_rows=16, max_length=24, epochs=12.0,
        batch_size=16, learning_rate=3e-3, checkpoints=2, precision="fp32", output_dir=str(folder / "teacher"),
        cache_dir=str(folder / "cache"),
    )  # fmt: skip
    finetune(config)
    return config


def nasty(config: FinetuneConfig, folder: Path, weight: float) -> FinetuneConfig:
    return replace(
        config, undistillable=config.output_dir, undistillable_weight=weight, output_dir=str(folder / f"nasty-{weight}")
    )


def test_the_term_is_the_divergence_and_has_an_end() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(5, 3), torch.randn(5, 3)
    term = Contradiction(weight=0.5, temperature=4.0)
    expected = 0.5 * 16 * kl_divergence(one, other, 4.0).mean()
    torch.testing.assert_close(term(one, other), expected)
    assert term(one, one + 3) < 1e-6 < term(one, other)
    far = torch.tensor([[4e3, 0.0, 0.0]]), torch.tensor([[0.0, 4e3, 0.0]])
    assert float(term(*far)) == 0.5 * 16 * MOST
    assert not torch.isnan(torch.autograd.grad(term(far[0].requires_grad_(), far[1]), far[0])[0]).any()


def test_it_keeps_its_classes_and_contradicts_the_usual_teacher(usual: FinetuneConfig, tmp_path: Path) -> None:
    made = [finetune(nasty(usual, tmp_path, weight)) for weight in (0.0, 0.05)]
    rows = read_labelled(MNLI, str(MNLI.train_file(usual.glue_dir)))
    before = Path(usual.output_dir, "model.safetensors").read_bytes()
    names = (usual.output_dir, *(str(done.folder) for done in made))
    a, plain, spoilt = (
        torch.from_numpy(load_classifier(MNLI, name, tmp_path).logits(rows.texts, max_length=24)) for name in names
    )
    apart = [float(kl_divergence(one, a, 4.0).mean()) for one in (plain, spoilt)]
    assert apart[1] > 3 * apart[0], apart
    labels = np.array(rows.labels)
    accuracies = [float((one.argmax(dim=1).numpy() == labels).mean()) for one in (plain, spoilt)]
    assert accuracies[1] > accuracies[0] - 0.05 and accuracies[0] > 0.9
    assert Path(usual.output_dir, "model.safetensors").read_bytes() == before
    assert made[1].record["undistillable"] and made[1].record["options"]["undistillable_weight"] == 0.05
    assert "undistillable" not in made[1].record["options"], "no path of a folder"


def test_without_weight_it_is_the_usual_training(usual: FinetuneConfig, tmp_path: Path) -> None:
    plain = finetune(replace(usual, output_dir=str(tmp_path / "plain")))
    same = finetune(nasty(usual, tmp_path, 0.0))
    assert plain.record["sha256"] == same.record["sha256"] and plain.record["undistillable"] is None


def test_what_is_wrong_is_said_before_anything_loads(cli, usual: FinetuneConfig, tmp_path: Path) -> None:
    config = replace(usual, output_dir=str(tmp_path / "out"))
    done = cli("finetune", *as_flags(config, undistillable_weight=0.1, undistillable_temperature=2.0))
    assert done.code == 2 and len(done.errors) == 2
    assert "--undistillable-weight 0.1: expected --undistillable TEACHER with it" in done.errors[0]
    assert "--undistillable-temperature 2: " in done.errors[1]
    done = cli("finetune", *as_flags(config, undistillable=str(tmp_path / "none")))
    assert done.code == 2 and "--undistillable" in done.err and not (tmp_path / "out").exists()
    for name, said in (("default", "expected a teacher with weights"), ("my_module:ask", "expected a teacher with")):
        done = cli("finetune", *as_flags(config, undistillable=name))
        assert done.code == 2 and said in done.err and len(done.errors) == 1


def test_a_finished_teacher_of_the_other_kind_is_not_taken_for_this_one(usual: FinetuneConfig, tmp_path: Path) -> None:
    made = finetune(nasty(usual, tmp_path, 0.0))
    with pytest.raises(InputError, match="holds another teacher"):
        finetune(replace(usual, output_dir=str(made.folder), undistillable_weight=0.0, resume=True))
    with pytest.raises(InputError, match="holds another teacher"):
        finetune(replace(nasty(usual, tmp_path, 0.04), output_dir=usual.output_dir, resume=True))
    again = finetune(replace(nasty(usual, tmp_path, 0.0), resume=True))
    assert again.record["sha256"] == made.record["sha256"]


def test_an_adapter_is_a_usual_teacher_too(usual: FinetuneConfig, tmp_path: Path) -> None:
    """It is what `zskd finetune` makes unless it is told otherwise."""
    adapter = finetune(replace(usual, full=False, rank=4, epochs=1.0, output_dir=str(tmp_path / "adapter")))
    wanted = replace(usual, undistillable=str(adapter.folder), epochs=1.0, output_dir=str(tmp_path / "nasty"))
    assert problems(wanted) == []
    assert finetune(wanted).record["undistillable"]
