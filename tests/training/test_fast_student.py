"""A student in training on a CPU: fast layers and pieces give the losses of stock ones, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert
from test_trainer import COLLATOR, rows, trainer
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, TrainerCallback
from transformers.trainer_utils import SaveStrategy

from zskd import Method, ZeroShotArguments, ZeroShotTrainer
from zskd.models.fast_layers import is_fast
from zskd.training import fast_student


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def student(kind: str, dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    if kind == "bert":
        model = tiny_bert(100, ("a", "b", "c"))
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = dropout
        return model
    config = DebertaV2Config(
        vocab_size=100, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3,
        relative_attention=True, pos_att_type=["c2p", "p2c"], share_att_key=True, position_buckets=4,
        max_relative_positions=8, norm_rel_ebd="layer_norm", position_biased_input=False,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return DebertaV2ForSequenceClassification(config)


class Look(TrainerCallback):
    """Notes in every step what the trainer's student is."""

    def __init__(self) -> None:
        self.seen: set[tuple[bool, bool]] = set()
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        changed = any(type(module).__name__.startswith("Fast") for module in model.modules())
        self.seen.add((changed, self.trainer._fast.pieces is not None))


def trained(folder: Path, model: Any, cls: Any = None, **arguments: Any) -> tuple[np.ndarray, set[tuple[bool, bool]]]:
    """Losses and norms of gradients, and whether layers were fast and micro-batches in pieces."""
    look = Look()
    settings = {"per_device_train_batch_size": 32, "learning_rate": 1e-3, **arguments}
    made = trainer(folder, rows(100), model=model, callbacks=[look], cls=cls, **settings)
    look.trainer = made
    made.train()
    logged = [(entry["loss"], entry["grad_norm"]) for entry in made.state.log_history if "grad_norm" in entry]
    return np.array(logged), look.seen


@pytest.mark.parametrize("kind", ["bert", "deberta"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_fast_layers_in_pieces_train_like_stock_ones(
    kind: str, accumulation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"gradient_accumulation_steps": accumulation, "max_steps": 5}  # an epoch has a short last batch
    model = student(kind)
    classes = [type(module) for module in model.modules()]
    found, seen = trained(tmp_path, model, **arguments)
    assert seen == {(True, True)}
    assert [type(module) for module in model.modules()] == classes
    assert not any("first" in vars(module) for module in model.modules())
    assert torch.get_num_threads() == 2
    again, _ = trained(tmp_path, student(kind), **arguments)
    assert np.array_equal(found, again)
    monkeypatch.setattr(fast_student, "make_fast", lambda *_, **__: [])
    expected, seen = trained(tmp_path, student(kind), **arguments)
    assert seen == {(False, False)}
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_resumed_training_in_pieces_gives_the_same_bits(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 32,
        "max_steps": 6,
        "save_steps": 3,
        "report_to": "none",
    }

    def train(folder: str, steps: int, resume: bool) -> dict[str, torch.Tensor]:
        settings = ZeroShotArguments(str(tmp_path / folder), use_cpu=True, disable_tqdm=True, **arguments)

        class Stop(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = state.global_step == steps

        made = ZeroShotTrainer(
            student("deberta"), settings, train_dataset=rows(100), data_collator=COLLATOR, callbacks=[Stop()]
        )
        made.train(resume_from_checkpoint=resume or None)
        return {name: weight.clone() for name, weight in made.model.state_dict().items()}

    expected = train("whole", 6, False)
    train("killed", 4, False)
    found = train("killed", 6, True)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


class Other(ZeroShotTrainer):
    """A trainer with a loss of its own."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs)


@pytest.mark.parametrize("why", ["dropout", "loss", "one thread", "hook", "few rows", "checkpointing", "model", "bf16"])
def test_a_micro_batch_stays_whole_where_pieces_could_differ(why: str, tmp_path: Path) -> None:
    model, cls, arguments = student("bert", dropout=0.1 if why == "dropout" else 0.0), None, {}
    if why == "loss":
        cls = Other
    elif why == "one thread":
        torch.set_num_threads(1)
    elif why == "hook":
        next(model.parameters()).register_post_accumulate_grad_hook(lambda weight: None)
    elif why == "few rows":
        arguments["per_device_train_batch_size"] = 8
    elif why == "checkpointing":
        arguments["gradient_checkpointing"] = True
    elif why == "model":  # whose owner has turned checkpointing on
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": True})
    elif why == "bf16":
        arguments["bf16"] = True
    _, seen = trained(tmp_path, model, cls, max_steps=2, **arguments)
    assert seen == {(why != "dropout", False)}


def test_an_interrupted_training_gives_the_student_back(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

    model = student("bert")
    classes = [type(module) for module in model.modules()]
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, rows(64), model=model, callbacks=[Stop()], per_device_train_batch_size=32).train()
    assert [type(module) for module in model.modules()] == classes and torch.get_num_threads() == 2


def test_a_checkpoint_has_the_names_of_a_stock_student(tmp_path: Path) -> None:
    model = student("deberta")
    made = trainer(tmp_path, rows(64), model=model, per_device_train_batch_size=32, max_steps=1)
    names: list[Any] = []

    class Save(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
            model.save_pretrained(tmp_path / "kept")
            names.append(list(model.state_dict()))

    made.add_callback(Save())
    made.train()
    assert names == [list(student("deberta").state_dict())]
    loaded, info = DebertaV2ForSequenceClassification.from_pretrained(tmp_path / "kept", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and type(loaded.config) is DebertaV2Config


def test_an_attempt_that_ran_out_of_memory_is_undone_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = student("bert")
    classes = [type(module) for module in model.modules()]
    made = trainer(
        tmp_path, rows(64), model=model, per_device_train_batch_size=64, max_steps=2, auto_find_batch_size=True
    )
    step, threads = made.training_step, []

    def scarce(model: Any, inputs: dict[str, Any], *others: Any) -> torch.Tensor:
        threads.append((len(inputs["input_ids"]), made._fast.pieces and made._fast.pieces.count, is_fast(model)))
        if len(inputs["input_ids"]) == 64:
            raise RuntimeError("CUDA out of memory.")
        return step(model, inputs, *others)

    monkeypatch.setattr(made, "training_step", scarce)
    made.train()
    assert threads[0] == (64, 2, True) and threads[-1][0] < 64 and threads[-1][1:] == (2, True)
    assert [type(module) for module in model.modules()] == classes and torch.get_num_threads() == 2


class Thaw(TrainerCallback):
    """Thaws one weight and freezes another after the first step, and keeps both as they are after each step."""

    def __init__(self, model: Any) -> None:
        self.thawed, self.frozen = model.bert.encoder.layer[0].intermediate.dense.weight, model.classifier.weight
        self.thawed.requires_grad_(False)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seen.append((self.thawed.detach().clone(), self.frozen.detach().clone()))
        if len(self.seen) == 1:
            self.thawed.requires_grad_(True)
            self.frozen.requires_grad_(False)


def test_weights_may_be_frozen_and_thawed_while_a_student_trains(tmp_path: Path) -> None:
    model = student("bert")
    thaw = Thaw(model)
    made = trainer(
        tmp_path, rows(64), model=model, callbacks=[thaw], per_device_train_batch_size=32, max_steps=2,
        learning_rate=1e-2, weight_decay=0.0, lr_scheduler_type="constant",
    )  # fmt: skip
    made.create_optimizer()
    made.optimizer.add_param_group({"params": [thaw.thawed]})
    made.train()
    (first, _), (thawed, _) = thaw.seen
    assert not torch.equal(first, thawed)
    assert thaw.frozen.grad is None


class Total(ZeroShotTrainer):
    """A trainer whose objective gives the sum over the rows."""

    def distillation_loss(self) -> Any:
        objective = super().distillation_loss()
        return lambda teacher, logits, gold=None: objective(teacher, logits, gold) * len(logits)


class Reads(ZeroShotTrainer):
    """A trainer whose loss reads the hidden states of all tokens."""

    widths: set[int]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        shown = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        self.widths.add(model(**shown, output_hidden_states=True).hidden_states[-1].shape[1])
        return super().compute_loss(model, inputs, *args, **kwargs)


class Smooth(ZeroShotTrainer):
    """A trainer whose loss has the gradient's norm in it."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if isinstance(loss, tuple):
            return loss
        table = model.get_input_embeddings().weight
        return loss + torch.autograd.grad(loss, table, create_graph=True)[0].square().sum()


class Asks(Method):
    """A method that asks the student itself."""

    name = "asks"

    def __init__(self) -> None:
        super().__init__()
        self.widths: set[int] = set()

    def batch(self, batch: Any, step: Any) -> Any:
        self.widths.add(step.student.base_model(batch["input_ids"]).last_hidden_state.shape[1])
        return batch


def test_an_objective_of_a_trainers_own_sees_whole_micro_batches(tmp_path: Path) -> None:
    _, seen = trained(tmp_path, student("bert"), Total, max_steps=2)
    assert seen == {(True, False)}


def test_a_loss_or_a_method_of_ones_own_finds_all_tokens_and_second_derivatives(tmp_path: Path) -> None:
    Reads.widths = set()
    trained(tmp_path, student("bert"), Reads, max_steps=2)
    trained(tmp_path, student("bert"), Smooth, max_steps=1)
    asks = Asks()
    trainer(
        tmp_path, rows(64), model=student("bert"), cls=partial(ZeroShotTrainer, methods=[asks]), max_steps=2
    ).train()
    assert min(Reads.widths) > 1 and min(asks.widths) > 1


def test_hooks_that_a_callback_sets_when_training_begins_are_called(tmp_path: Path) -> None:
    model, called = student("bert"), []

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            model.bert.encoder.layer[1].attention.self.query.register_forward_hook(lambda *_: called.append(1))

    made = trainer(tmp_path, rows(64), model=model, per_device_train_batch_size=32, max_steps=2)
    made.add_callback(Watch())
    made.train()
    assert len(called) >= 2


def test_a_checkpoint_says_the_threads_of_the_training_not_of_a_piece(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> Any:
        made = trainer(tmp_path, rows(64), model=student("bert"), per_device_train_batch_size=32, max_steps=2)
        made.args.save_strategy, made.args.save_steps = SaveStrategy.STEPS, 1
        return made

    make().train()
    assert json.loads((tmp_path / "checkpoint-1" / "machine.json").read_text(encoding="utf-8"))["threads"] == 2
    make().train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert "another kind of machine" not in caplog.text
