"""`ZeroShotTrainer`: loss under accumulation, what counts as labels, agreement, callbacks, order of rows."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from recipes.tiny import random_bert
from zskd import ZeroShotArguments, ZeroShotTrainer, kd_loss
from zskd.config.objective_options import OBJECTIVES
from zskd.errors import InputError
from zskd.training.objective import Objective
from zskd.training.sampler import LengthGroupedSampler
from zskd.transfer.collator import TransferCollator
from zskd.transfer.gold import UNKNOWN

COLLATOR = TransferCollator(pad_token_id=0)


def rows(count: int, *, length: bool = True, labels: int = 3) -> Dataset:
    """Random inputs of 4 to 20 tokens with random teacher logits."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 90, size=rng.integers(4, 21)).tolist() for _ in range(count)]
    columns = {
        "input_ids": ids,
        "teacher_logits": rng.normal(size=(count, labels)).astype(np.float32).tolist(),
    }
    return Dataset.from_dict({**columns, "length": [len(row) for row in ids]} if length else columns)


def trainer(
    folder: Path,
    data: Dataset,
    *,
    model: Any = None,
    callbacks: Any = None,
    cls: Any = None,
    **arguments: Any,
):
    """A trainer on the CPU for data with three classes."""
    if model is None:
        model = tiny_bert(100, ("a", "b", "c"))
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    arguments = {"max_steps": 6, "logging_steps": 1, "use_cpu": True, "disable_tqdm": True, **arguments}
    settings = ZeroShotArguments(output_dir=str(folder), save_strategy="no", report_to="none", **arguments)
    made = (cls or ZeroShotTrainer)(
        model, settings, train_dataset=data, eval_dataset=data, data_collator=COLLATOR, callbacks=callbacks
    )
    return made


def losses_and_norms(folder: Path, data: Dataset, batch: int, accumulation: int) -> np.ndarray:
    made = trainer(
        folder,
        data,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-3,
    )
    made.train()
    return np.array([(entry["loss"], entry["grad_norm"]) for entry in made.state.log_history if "grad_norm" in entry])


def test_accumulated_batches_train_like_one_large_batch(tmp_path: Path) -> None:
    data = rows(128, length=False)  # without lengths, the order does not depend on the batch size
    one = losses_and_norms(tmp_path, data, 16, 1)
    assert one.shape == (6, 2)
    for batch, accumulation in ((8, 2), (4, 4)):
        np.testing.assert_allclose(losses_and_norms(tmp_path, data, batch, accumulation), one, rtol=1e-4)


def test_logged_loss_is_the_distillation_loss_of_the_batch(tmp_path: Path) -> None:
    data = rows(16)
    made = trainer(tmp_path, data, per_device_train_batch_size=16, max_steps=1, temperature=2.0)
    batch = COLLATOR(list(data))
    teacher = batch.pop("teacher_logits")
    with torch.no_grad():
        expected = kd_loss(teacher, made.model(**batch).logits, 2.0)
    made.train()
    assert made.state.log_history[0]["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_teacher_logits_are_not_counted_as_labels(tmp_path: Path) -> None:
    seen = []

    class Spy(ZeroShotTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            seen.append((set(inputs), num_items_in_batch))
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    model = tiny_bert(100, ("a", "b", "c"))
    trainer(tmp_path, rows(16), model=model, cls=Spy, per_device_train_batch_size=4, max_steps=2).train()
    assert seen == [({"input_ids", "attention_mask", "teacher_logits"}, None)] * 2
    # A head that sees labels guesses several at once.
    assert model.config.problem_type == "single_label_classification"


class Table(torch.nn.Module):
    """A student whose logits are looked up by the first token."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[input_ids[:, 0]])


def test_eval_agreement_is_the_share_of_equal_classes(tmp_path: Path) -> None:
    student = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [0.0, 1.0, 2.0]]
    teacher = [[1.0, 0.9, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 9.0], [0.0, 2.0, 1.0]]  # three of four agree
    data = Dataset.from_dict({"input_ids": [[0], [1], [2], [3]], "teacher_logits": teacher})
    found = trainer(tmp_path, data, model=Table(student), per_device_eval_batch_size=3).evaluate()
    assert found["eval_agreement"] == 0.75
    expected = kd_loss(torch.tensor(teacher), torch.tensor(student))
    assert found["eval_loss"] == pytest.approx(float(expected), rel=1e-6)


def test_callback_of_somebody_else_sees_and_steers_the_run(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        events: list[tuple[str, int]] = []  # noqa: RUF012

        def on_step_end(self, args, state, control, **kwargs):
            assert isinstance(args, ZeroShotArguments)
            self.events.append(("step", state.global_step))
            control.should_training_stop = state.global_step == 3

        def on_evaluate(self, args, state, control, metrics, **kwargs):
            assert "eval_agreement" in metrics
            self.events.append(("evaluate", state.global_step))

    trainer(tmp_path, rows(64), callbacks=[Stop()], eval_strategy="steps", eval_steps=2).train()
    assert Stop.events == [("step", 1), ("step", 2), ("evaluate", 2), ("step", 3)]


def test_a_finished_run_takes_no_further_step_when_resumed(tmp_path: Path) -> None:
    settings = {"max_steps": 6, "save_steps": 3, "per_device_train_batch_size": 8}  # an epoch has four steps
    data = rows(32)
    made = trainer(tmp_path, data, **settings)
    made.args.save_strategy = IntervalStrategy.STEPS
    made.train()
    again = trainer(tmp_path, data, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert again.state.global_step == 6
    assert all(map(torch.equal, made.model.state_dict().values(), again.model.state_dict().values()))


def test_temperature_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="temperature"):
        ZeroShotArguments(output_dir=str(tmp_path), temperature=0.0)


def test_trainer_groups_by_length_and_sets_the_epoch(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    class Spy(ZeroShotTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            seen.append(tuple(inputs["attention_mask"].sum(dim=1).tolist()))
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    data = rows(60)
    trainer(tmp_path, data, cls=Spy, per_device_train_batch_size=8, max_steps=-1, num_train_epochs=2.0, seed=7).train()
    sampler = LengthGroupedSampler(np.array(data["length"][:]), 8, seed=7)
    lengths = np.array(data["length"][:])
    expected = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        expected += lengths[list(sampler)].tolist()
    assert [length for batch in seen for length in batch] == expected


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "kd"])
def test_trainer_computes_the_objective_it_is_given(tmp_path: Path, name: str) -> None:
    teacher = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.1, 2.0]])
    student = torch.tensor([[3.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    cosines = torch.tensor([[1.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 1.0]])
    columns = {"input_ids": [[0], [1]], "teacher_logits": teacher.tolist()}
    for gold in (None, [UNKNOWN, 1]):
        data = Dataset.from_dict(columns if gold is None else {**columns, "gold_label": gold})
        settings = ZeroShotArguments(
            output_dir=str(tmp_path), use_cpu=True, report_to="none", objective=name, temperature=2.0, top_k=1
        )
        made = ZeroShotTrainer(
            Table(student.tolist()), settings, eval_dataset=data, data_collator=COLLATOR, cosines=cosines
        )
        known = None if gold is None else torch.tensor(gold)
        expected = Objective(objective=name, temperature=2.0, top_k=1, cosines=cosines)(teacher, student, known)
        assert made.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_trainer_refuses_what_it_cannot_compute(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objective: expected one of kd"):
        ZeroShotArguments(output_dir=str(tmp_path), objective="kl")
    with pytest.raises(ValueError, match="similarity_temperature"):
        ZeroShotArguments(output_dir=str(tmp_path), similarity_temperature=0.0)
    with pytest.raises(ValueError, match="cosines"):
        trainer(tmp_path, rows(8), objective="kd-sim")


def test_operations_are_counted_as_trainer_counts_them(tmp_path: Path) -> None:
    made = trainer(tmp_path, rows(12), max_steps=2)
    batch = COLLATOR([made.train_dataset[i] for i in range(4)])
    assert made.floating_point_ops(batch) == super(ZeroShotTrainer, made).floating_point_ops(batch) > 0
    made.train()
    assert made.state.total_flos > 0


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_gradients_are_clipped_as_trainer_clips_them(tmp_path: Path, limit: float) -> None:
    """Also that the private name is still Trainer's: with another, this would compare Trainer with itself."""

    class Stock(ZeroShotTrainer):
        _clip_grad_norm = Trainer._clip_grad_norm

    class Counting(ZeroShotTrainer):
        clipped = 0

        def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
            self.clipped += 1
            return super()._clip_grad_norm(model)

    start, found = tiny_bert(100, ("a", "b", "c")).state_dict(), []
    for cls in (Stock, Counting):
        model = tiny_bert(100, ("a", "b", "c"))
        model.load_state_dict(start)
        made = trainer(tmp_path, rows(32), model=model, cls=cls, max_grad_norm=limit, learning_rate=1e-2)
        made.train()
        norms = [entry["grad_norm"] for entry in made.state.log_history if "grad_norm" in entry]
        found.append((norms, made.model.state_dict()))
    assert made.clipped == 6 and found[0][0] == found[1][0] and len(norms) == 6
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())
    assert limit == 1e3 or max(norms) > limit


def test_the_model_that_is_given_is_clipped_and_not_one_from_before(tmp_path: Path) -> None:
    made = trainer(tmp_path, rows(16), max_grad_norm=0.5)
    for _ in range(2):
        model = tiny_bert(100, ("a", "b", "c"))
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        assert made._clip_grad_norm(model) > 0.5
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
        torch.testing.assert_close(norm, torch.tensor(0.5), rtol=1e-4, atol=0)


def test_a_saved_student_says_what_it_was_trained_for(tmp_path: Path) -> None:
    """Whatever its configuration said before, and also where the trainer makes the model itself."""

    def several() -> torch.nn.Module:
        model = tiny_bert(100, ("a", "b", "c"))
        model.config.problem_type = "multi_label_classification"
        model.config.function_to_apply = "sigmoid"
        return model

    given = trainer(tmp_path / "given", rows(16), model=several())
    settings = given.args
    own = ZeroShotTrainer(model_init=several, args=settings, train_dataset=rows(16), data_collator=COLLATOR)
    own.train()
    for name, made in {"given": given, "own": own}.items():
        made.save_model(str(tmp_path / name))
        saved = json.loads((tmp_path / name / "config.json").read_text(encoding="utf-8"))
        assert saved["problem_type"] == "single_label_classification" and "function_to_apply" not in saved


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("name", ["train_dataset", "eval_dataset"])
def test_rows_longer_than_the_students_positions_are_refused(tmp_path: Path, name: str, length: bool) -> None:
    student = random_bert(90, ("a", "b", "c"), 16, 0)
    assert student.config.max_position_embeddings == 128
    long = Dataset.from_dict(
        {"input_ids": [[5] * 130], "teacher_logits": [[0.0] * 3], **({"length": [130]} if length else {})}
    )
    sets = {"train_dataset": rows(4), "eval_dataset": rows(4), name: long}
    with pytest.raises(InputError, match=f"{name}: expected rows of at most the 128 positions"):
        ZeroShotTrainer(student, ZeroShotArguments(str(tmp_path), report_to="none", use_cpu=True), **sets)


def test_saved_models_and_checkpoints_cut_where_the_student_stops(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(20))
    student = random_bert(90, ("a", "b", "c"), 16, 0)
    tokenizer(["a", "b c"], truncation=True, max_length=24, padding="max_length")
    arguments = ZeroShotArguments(str(tmp_path), max_steps=1, save_steps=1, report_to="none", use_cpu=True)
    made = ZeroShotTrainer(student, arguments, train_dataset=rows(4), processing_class=tokenizer)
    made.train()
    made.save_model(str(tmp_path / "model"))
    for folder in (tmp_path / "model", tmp_path / "checkpoint-1"):
        saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert saved["truncation"]["max_length"] == config["model_max_length"] == 128 and saved["padding"] is None
