"""A student in training on a CPU: fast layers and pieces give the losses of stock ones, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert
from test_trainer import COLLATOR, rows, trainer
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, TrainerCallback

from zskd import ZeroShotArguments, ZeroShotTrainer
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


@pytest.mark.parametrize("why", ["dropout", "loss", "one thread", "hook", "few rows", "checkpointing", "bf16"])
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
