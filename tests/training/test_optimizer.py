"""Which optimizer updates what: the matrices of the layers, one state, one schedule, and resumed runs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import classifier
from conftest import tiny_bert
from test_modules import Trained
from test_trainer import COLLATOR, rows, trainer
from transformers import Trainer, get_linear_schedule_with_warmup
from transformers.trainer_utils import IntervalStrategy

from zskd import ZeroShotArguments, ZeroShotTrainer
from zskd.errors import InputError, RunError
from zskd.pretrain.learner import StateLearner
from zskd.pretrain.start_trainer import StartTrainer
from zskd.training.muon import Muon
from zskd.training.optimizer import MuonWithAdamW, OptimizerArguments, layer_matrices

BERT = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
)  # fmt: skip
DEBERTA = ("query_proj", "key_proj", "value_proj")
# Kind -> what stands before the number of a layer, and its matrices.
MATRICES = {
    "bert": ("encoder.layer", BERT),
    "electra": ("encoder.layer", BERT),
    "deberta-v2": ("encoder.layer", (*(f"attention.self.{name}" for name in DEBERTA), *BERT[3:])),
    "distilbert": (
        "transformer.layer",
        (*(f"attention.{name}" for name in ("q_lin", "k_lin", "v_lin", "out_lin")), "ffn.lin1", "ffn.lin2"),
    ),
    "albert": (
        "encoder.albert_layer_groups.0.albert_layers",
        (*(f"attention.{name}" for name in ("query", "key", "value", "dense")), "ffn", "ffn_output"),
    ),
    "mpnet": ("encoder.layer", (*(f"attention.attn.{name}" for name in "qkvo"), *BERT[4:])),
}


def names(model: torch.nn.Module, weights: Any) -> list[str]:
    """Names of weights, sorted."""
    own = {weight: name for name, weight in model.named_parameters()}
    return sorted(own[weight] for weight in weights)


@pytest.mark.parametrize("kind", MATRICES)
def test_muon_has_the_matrices_of_the_layers_and_adamw_all_else(kind: str, tmp_path: Path) -> None:
    student = classifier(kind)
    before, matrices = MATRICES[kind]
    layers = range(1 if kind == "albert" else 2)  # ALBERT's layers are one, used twice
    expected = sorted(
        f"{student.base_model_prefix}.{before}.{layer}.{name}.weight" for layer in layers for name in matrices
    )
    made = trainer(tmp_path, rows(8), model=student, optimizer="muon", weight_decay=0.1, learning_rate=0.2)
    groups = made.create_optimizer().param_groups
    assert names(student, [weight for group in groups if group["muon"] for weight in group["params"]]) == expected
    assert all(weight.dim() == 2 for group in groups if group["muon"] for weight in group["params"])
    assert sorted(names(student, [weight for group in groups for weight in group["params"]])) == sorted(
        name for name, _ in student.named_parameters()
    ), "each weight once"
    # As in Trainer's own groups, no bias and no normalisation decays.
    usual = Trainer.create_optimizer(trainer(tmp_path, rows(8), model=student, weight_decay=0.1, learning_rate=0.2))
    assert [(group["lr"], group["weight_decay"], group["muon"]) for group in groups] == [
        (0.2, 0.1, False), (0.2, 0.0, False), (0.2, 0.1, True),
    ]  # fmt: skip
    assert names(student, usual.param_groups[1]["params"]) == names(student, groups[1]["params"])


def test_a_start_s_map_to_the_backbone_is_adamw_s(tmp_path: Path) -> None:
    body = classifier("electra").base_model
    learner = StateLearner(body, torch.zeros(12), torch.ones(12))
    learner.outputs = torch.nn.ModuleList([learner.outputs])  # as if there were several
    made = StartTrainer(
        learner,
        OptimizerArguments(str(tmp_path), optimizer="muon", use_cpu=True, report_to="none"),
        backbone=None,
        train_dataset=rows(8),
        data_collator=COLLATOR,
    )
    (muon,) = (group for group in made.create_optimizer().param_groups if group["muon"])
    assert names(learner, muon["params"]) == sorted(f"body.{name}" for name in layer_matrices(body))


def test_without_it_the_optimizer_is_trainers_own(tmp_path: Path) -> None:
    made = trainer(tmp_path, rows(8), learning_rate=0.2, weight_decay=0.1)
    usual = Trainer.create_optimizer(trainer(tmp_path, rows(8), model=made.model, learning_rate=0.2, weight_decay=0.1))
    found = made.create_optimizer()
    assert made.args.optimizer == "adamw" and type(found) is type(usual) is torch.optim.AdamW
    assert found.defaults == usual.defaults and len(found.param_groups) == 2
    for ours, theirs in zip(found.param_groups, usual.param_groups, strict=True):
        assert {name: value for name, value in ours.items() if name != "params"} == {
            name: value for name, value in theirs.items() if name != "params"
        }
        assert all(map(lambda one, other: one is other, ours["params"], theirs["params"]))


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(7, 6), torch.nn.Linear(6, 4), torch.nn.Linear(4, 6, bias=False))


def adamw(weights: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(weights, lr=0.1, weight_decay=0.05, fused=True)


def steps(net: torch.nn.Module, count: int, *parts: Any, seed: int = 0) -> list[torch.Tensor]:
    """Update with gradients of their own, and return the weights."""
    torch.manual_seed(seed)
    for _ in range(count):
        for weight in net.parameters():
            weight.grad = torch.randn_like(weight)
        for part in parts:
            part.step()
    return [weight.detach().clone() for weight in net.parameters()]


def both(net: torch.nn.Module) -> tuple[MuonWithAdamW, Any]:
    made = MuonWithAdamW(adamw(net.parameters()), [net[1].weight, net[2].weight])
    return made, get_linear_schedule_with_warmup(made, 2, 6)


def test_each_part_does_what_it_does_alone_and_the_schedule_moves_both() -> None:
    net = small()
    found = steps(net, 5, *both(net))
    net = small()
    matrices, others = [net[1].weight, net[2].weight], [net[0].weight, net[1].bias]
    alone = [Muon(matrices, lr=0.1, weight_decay=0.05), adamw(others)]
    schedules = [get_linear_schedule_with_warmup(part, 2, 6) for part in alone]
    assert all(map(torch.equal, found, steps(net, 5, *alone, *schedules)))
    constant = small()
    fixed = steps(constant, 5, MuonWithAdamW(adamw(constant.parameters()), [constant[1].weight, constant[2].weight]))
    assert not any(map(torch.equal, found, fixed)), "without the schedule, every weight is another"


def test_a_step_returns_the_loss_of_its_closure_and_leaves_weights_without_a_gradient() -> None:
    net = small()
    before = copy.deepcopy(net.state_dict())
    made, _ = both(net)

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss = net[2].weight.square().sum()
        loss.backward()
        return loss

    for group in made.param_groups:
        group["lr"] = 0.1  # which the warm-up begins at zero
    assert torch.equal(made.step(closure), before["2.weight"].square().sum())
    assert {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])} == {"2.weight"}


def test_an_update_is_about_as_large_as_adamws() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 384, bias=False)
    layer.weight.grad = torch.randn_like(layer.weight)
    before = layer.weight.detach().clone()
    MuonWithAdamW(torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.0), [layer.weight]).step()
    moved = (layer.weight.detach() - before).square().mean().sqrt() / 1e-2
    assert 0.1 < moved < 0.3, "AdamW's are 0.2 to 0.4 of the learning rate as a rule, and Muon's 0.2"


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    net = small()
    made, schedule = both(net)
    steps(net, 3, made, schedule)
    torch.save({"net": net.state_dict(), "made": made.state_dict(), "schedule": schedule.state_dict()}, tmp_path / "s")
    expected = steps(net, 2, made, schedule, seed=1)
    held = torch.load(tmp_path / "s", weights_only=True)
    other = small()
    other.load_state_dict(held["net"])
    again, its_schedule = both(other)
    again.load_state_dict(held["made"])
    its_schedule.load_state_dict(held["schedule"])
    assert all(map(torch.equal, steps(other, 2, again, its_schedule, seed=1), expected))
    state = again.state_dict()
    assert {frozenset(value) for value in state["state"].values()} == {
        frozenset({"momentum_buffer"}), frozenset({"step", "exp_avg", "exp_avg_sq"}),
    }  # fmt: skip
    with pytest.raises(ValueError, match="different number of parameter groups"):
        again.load_state_dict(adamw(small().parameters()).state_dict())


def training(folder: Path, optimizer: str, resume: str | None = None) -> ZeroShotTrainer:
    """One of six steps, with dropout and two checkpoints."""
    made = trainer(
        folder, rows(64), model=tiny_bert(100, ("a", "b", "c"), hidden=16), per_device_train_batch_size=32,
        learning_rate=1e-2, save_steps=3, optimizer=optimizer,
    )  # fmt: skip
    made.args.save_strategy = IntervalStrategy.STEPS
    made.train(resume_from_checkpoint=resume)
    return made


def test_a_resumed_run_is_the_one_that_was_never_stopped_and_keeps_its_optimizer(tmp_path: Path) -> None:
    def state(made: ZeroShotTrainer) -> list[torch.Tensor]:
        held = made.optimizer.state_dict()["state"]
        return [*made.model.state_dict().values(), *(value for one in held.values() for value in one.values())]

    for name, other in (("muon", "adamw"), ("adamw", "muon")):
        folder = tmp_path / name
        made = training(folder, name)
        again = training(folder, name, str(folder / "checkpoint-3"))
        assert len(state(made)) == len(state(again)) > 41 and all(map(torch.equal, state(made), state(again)))
        with pytest.raises(RunError, match=r"checkpoint-3: expected .* of a training with the same optimizer"):
            training(folder, other, str(folder / "checkpoint-3"))


def test_modules_of_a_method_are_adamws_at_their_own_rate(tmp_path: Path) -> None:
    method = Trained("fast", 0.5)
    settings = ZeroShotArguments(
        str(tmp_path), optimizer="muon", max_steps=2, learning_rate=0.01, use_cpu=True, report_to="none",
        lr_scheduler_type="constant", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    made = ZeroShotTrainer(
        tiny_bert(100, ("a", "b", "c")), settings, methods=[method], train_dataset=rows(16), data_collator=COLLATOR
    )
    before = method.projector[0].weight.detach().clone()
    made.train()  # the projector has no part in the loss, so it moves by no more than nothing
    groups = made.optimizer.param_groups
    assert [(group["muon"], group["lr"], group["weight_decay"]) for group in groups] == [
        (False, 0.01, 0.0), (False, 0.01, 0.0), (True, 0.01, 0.0), (False, 0.5, 0.0),
    ]  # fmt: skip
    assert all(map(lambda one, other: one is other, groups[-1]["params"], method.projector.parameters()))
    assert set(made.optimizer.state[method.projector[0].weight]) == {"step", "exp_avg", "exp_avg_sq"}
    assert torch.equal(before, method.projector[0].weight), "its gradient is zero"


@pytest.mark.parametrize("optim", ["sgd", "adafactor"])
def test_another_optim_of_trainers_is_refused(optim: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"optim: expected one of adamw_torch_fused, adamw_torch .*found '{optim}'"):
        ZeroShotArguments(str(tmp_path), use_cpu=True, optimizer="muon", optim=optim)
    assert ZeroShotArguments(str(tmp_path), use_cpu=True, optim=optim).optim == optim
    changed = trainer(tmp_path, rows(8), optimizer="muon")
    changed.args.optim = optim  # as a search does
    with pytest.raises(ValueError, match="optim: expected AdamW with optimizer='muon', found"):
        changed.create_optimizer()


@pytest.mark.parametrize("given", ["optimizers", "optimizer_cls_and_kwargs"])
def test_an_optimizer_that_is_handed_over_is_refused(given: str, tmp_path: Path) -> None:
    model = tiny_bert(100, ("a", "b", "c"))
    value = {
        "optimizers": (torch.optim.SGD(model.parameters(), lr=0.1), None),
        "optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.1}),
    }[given]
    for name in ("adamw", "muon"):
        settings = ZeroShotArguments(str(tmp_path), optimizer=name, use_cpu=True, report_to="none")
        kwargs = {"train_dataset": rows(8), "data_collator": COLLATOR, given: value}
        if name == "adamw":
            assert type(ZeroShotTrainer(model, settings, **kwargs).create_optimizer()) is torch.optim.SGD
        else:
            with pytest.raises(ValueError, match="optimizer: expected Trainer's own AdamW beside optimizer='muon'"):
                ZeroShotTrainer(model, settings, **kwargs)


def test_what_muon_cannot_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="optimizer: expected one of adamw, muon, found 'moun'"):
        ZeroShotArguments(str(tmp_path), use_cpu=True, optimizer="moun")
    frozen = tiny_bert(100, ("a", "b", "c"))
    frozen.bert.encoder.requires_grad_(False)
    for model in (frozen, torch.nn.Linear(3, 3)):
        made = trainer(tmp_path, rows(8), model=model, optimizer="muon")
        with pytest.raises(InputError, match="--optimizer muon: expected a student with layers of linear maps"):
            made.create_optimizer()


def test_the_log_says_who_updates_how_much(tmp_path: Path, caplog) -> None:
    made = trainer(tmp_path, rows(8), optimizer="muon")
    with caplog.at_level("INFO", "zskd"):
        made.create_optimizer()
    total = sum(weight.numel() for weight in made.model.parameters())
    inside = sum(weight.numel() for weight in layer_matrices(made.model.base_model).values())
    assert (
        f"Muon updates 12 matrices of the layers ({inside:,} weights), AdamW the other {total - inside:,}"
        in caplog.text
    )
