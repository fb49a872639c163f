"""Callbacks in a plain Trainer and in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import zskd
from zskd.methods.adversarial.generator import build_generator
from zskd.models.loading import model_fingerprint
from zskd.teacher.classifier import Classifier
from zskd.transfer.rows import transfer_rows

TASK = zskd.TASKS["sst2"]


def arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": 12, "per_device_train_batch_size": 8, "learning_rate": 1e-3,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True, "logging_steps": 4,
        **changes,
    }  # fmt: skip


@pytest.fixture
def texts(corpus_file: Path) -> list[str]:
    return corpus_file.read_text(encoding="utf-8").splitlines()[:96]


def writer(teacher: Classifier) -> Any:
    return zskd.GradientAdversary(build_generator(teacher), teacher)


def student_for(teacher: Classifier) -> Any:
    return tiny_bert(len(teacher.tokenizer), TASK.labels, hidden=16, seed=4)


def test_a_plain_trainer_is_fed_with_adversarial_rows(teacher: Classifier, texts: list[str], tmp_path: Path) -> None:
    rows = list(transfer_rows(teacher, (texts,), max_length=32))
    made = writer(teacher)
    before = model_fingerprint(made.generator)
    feed = zskd.AdversarialBatches(made, rows, every=3, count=16)
    seen: list[dict[str, Any]] = []

    class Spy(DataCollatorWithPadding):
        def __call__(self, features: list[dict[str, Any]]) -> Any:
            seen.extend(features)
            return super().__call__(features)

    trainer = Trainer(
        student_for(teacher),
        TrainingArguments(**arguments(tmp_path, num_train_epochs=1)),
        train_dataset=feed.rows,
        data_collator=Spy(teacher.tokenizer),
        callbacks=[feed],
    )
    trainer.train()
    assert len(feed.divergences) == 4 and all(value >= 0 for value in feed.divergences)
    assert model_fingerprint(made.generator) != before
    changed = [i for i, row in enumerate(rows) if feed.rows[i]["input_ids"] != row["input_ids"]]
    assert 48 <= len(changed) <= 64, "four turns of 16 different rows; a few may be rewritten into themselves"
    served = {tuple(row["input_ids"]) for row in seen}
    assert any(tuple(feed.rows[i]["input_ids"]) in served for i in changed), "rewritten while the epoch was on"
    for i in changed[:8]:
        ids = torch.tensor([feed.rows[i]["input_ids"]])
        with torch.no_grad():
            logits = teacher.model(input_ids=ids).logits[0, list(teacher.order)]
        assert feed.rows[i]["labels"] == int(logits.argmax())
        np.testing.assert_allclose(feed.rows[i]["teacher_logits"], logits, rtol=1e-3, atol=1e-4)


def test_our_trainer_can_be_fed_the_same_way(teacher: Classifier, texts: list[str], tmp_path: Path) -> None:
    feed = zskd.AdversarialBatches(writer(teacher), list(transfer_rows(teacher, (texts,))), every=4)
    trainer = zskd.ZeroShotTrainer(
        student_for(teacher),
        zskd.ZeroShotArguments(**arguments(tmp_path)),
        train_dataset=feed.rows,
        data_collator=lambda rows: zskd.TransferCollator(0)(rows),
        callbacks=[feed],
    )
    assert trainer.train().training_loss > 0 and len(feed.divergences) == 3


def test_agreement_and_scores_are_reported_in_a_plain_trainer(
    teacher: Classifier, texts: list[str], tmp_path: Path
) -> None:
    rows = Dataset.from_dict({"input_ids": teacher.tokenizer(texts)["input_ids"], "labels": [0, 1] * 48})
    student = student_for(teacher)
    report = zskd.AgreementCallback(TASK, teacher, (texts,), labels=[0, 1] * 48)
    trainer = Trainer(
        student,
        TrainingArguments(**arguments(tmp_path, eval_strategy="steps", eval_steps=6)),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(teacher.tokenizer),
        processing_class=teacher.tokenizer,
        callbacks=[report],
    )
    trainer.train()
    assert [entry["step"] for entry in report.history] == [6, 12, 12]
    with torch.no_grad():
        batch = teacher.tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        theirs = teacher.model(**batch).logits[:, list(teacher.order)].argmax(-1)
        ours = trainer.model.eval()(**batch).logits.argmax(-1)
    last = report.history[-1]
    assert last["agreement"] == pytest.approx(float((theirs == ours).float().mean()), abs=0.011)
    assert last["accuracy"] == pytest.approx(float((ours == torch.tensor([0, 1] * 48)).float().mean()), abs=0.011)
    assert any("zskd/agreement" in entry for entry in trainer.state.log_history)


def test_a_run_whose_loss_is_no_number_ends(teacher: Classifier, texts: list[str], tmp_path: Path) -> None:
    student, stop = student_for(teacher), zskd.CollapseStop()
    with torch.no_grad():
        student.classifier.bias.fill_(float("nan"))
    settings = arguments(tmp_path, logging_steps=1, logging_nan_inf_filter=False)
    trainer = zskd.ZeroShotTrainer(
        student,
        zskd.ZeroShotArguments(**settings),
        train_dataset=transfer_rows(teacher, (texts,)),
        callbacks=[stop],
    )
    trainer.train()
    assert trainer.state.global_step == 1 and "loss is nan" in str(stop.reason)


def test_third_party_callbacks_work_with_our_trainer(teacher: Classifier, texts: list[str], tmp_path: Path) -> None:
    events: list[str] = []

    class Everything(TrainerCallback):
        pass

    for name in ("on_train_begin", "on_step_begin", "on_step_end", "on_log", "on_train_end", "on_pre_optimizer_step"):
        setattr(Everything, name, lambda self, *args, name=name, **kwargs: events.append(name))
    settings = zskd.ZeroShotArguments(**arguments(tmp_path))
    trainer = zskd.ZeroShotTrainer(
        student_for(teacher),
        settings,
        methods=[zskd.Adversarial(writer(teacher))],
        train_dataset=transfer_rows(teacher, (texts,)),
        callbacks=[Everything()],
    )
    trainer.train()
    assert events.count("on_step_end") == events.count("on_pre_optimizer_step") == 12
    assert {"on_train_begin", "on_step_begin", "on_log", "on_train_end"} <= set(events)
