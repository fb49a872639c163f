"""Which optimizer updates what: AdamW everything, or Muon the matrices of the layers and AdamW the rest.

Muon's steps are as large as AdamW's are as a rule, so learning rate, schedule and weight decay serve both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.pytorch_utils import Conv1D
from transformers.training_args import OptimizerNames

from zskd.config.limits import limit_problems
from zskd.config.optimizer_options import OptimizerOptions
from zskd.errors import InputError
from zskd.training.muon import Muon
from zskd.training.private import PrivateTrainer

logger = logging.getLogger(__name__)

_BESIDE_MUON = ("adamw_torch_fused", "adamw_torch")  # values of Trainer's `optim`


@dataclass
class OptimizerArguments(OptimizerOptions, TrainingArguments):
    """`transformers.TrainingArguments` and the ``optimizer``, which with ``muon`` wants Trainer's ``optim`` as it is.

    Raises:
        ValueError: ``optimizer`` is none of its choices, or contradicts ``optim``.
    """

    def __post_init__(self) -> None:
        if problems := limit_problems(self, of=OptimizerOptions, shown=str):
            raise ValueError("; ".join(problems))
        super().__post_init__()
        if self.optimizer == "muon" and self.optim not in _BESIDE_MUON:
            raise ValueError(
                f"optim: expected one of {', '.join(_BESIDE_MUON)} with optimizer='muon', where AdamW updates what "
                f"Muon does not, found {OptimizerNames(self.optim).value!r}; leave one of them out"
            )


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for some matrices and AdamW for all other weights, as one optimizer with one state.

    The groups of AdamW come first and keep their order. Those of Muon follow, each with the learning rate and weight
    decay of the group whose matrices it took. Groups that are added later are AdamW's.

    Args:
        adamw: has all weights, and no state yet. It gives the matrices away.
        matrices: two-dimensional weights; those that are not among AdamW's are left alone.

    Example:
        >>> layer = torch.nn.Linear(4, 2)
        >>> optimizer = MuonWithAdamW(torch.optim.AdamW(layer.parameters(), lr=0.1), [layer.weight])
        >>> [(group["muon"], len(group["params"])) for group in optimizer.param_groups]
        [(False, 1), (True, 1)]
    """

    def __init__(self, adamw: torch.optim.AdamW, matrices: Collection[torch.nn.Parameter]) -> None:
        chosen, taken = set(matrices), []
        for group in adamw.param_groups:
            if found := [weight for weight in group["params"] if weight in chosen]:
                taken.append({"params": found, "lr": group["lr"], "weight_decay": group["weight_decay"], "muon": True})
                group["params"] = [weight for weight in group["params"] if weight not in chosen]
        self._adamw, self._muon = adamw, Muon(taken)
        super().__init__(adamw.param_groups, {**adamw.defaults, "muon": False})
        self.param_groups += self._muon.param_groups

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        # Loading a state, or adding a group, replaces groups and state here only.
        for part, own in ((self._adamw, False), (self._muon, True)):
            part.param_groups = [group for group in self.param_groups if group["muon"] is own]
            part.state = self.state
        loss: float | None = self._adamw.step(closure)
        self._muon.step()
        return loss


def layer_matrices(body: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The matrices of linear maps in a model's layers, by name: what stands in a list of modules.

    Tables (those of relative positions too), what comes before the first layer and after the last one, and all weights
    that are no matrices are left out.

    Args:
        body: a model without its head.
    """
    lists = [module for module in body.modules() if isinstance(module, torch.nn.ModuleList)]
    maps = {part for layers in lists for part in layers.modules() if isinstance(part, torch.nn.Linear | Conv1D)}
    weights = {part.weight for part in maps}
    return {name: weight for name, weight in body.named_parameters() if weight in weights}


class OptimizedTrainer(PrivateTrainer):
    """A Trainer whose ``args.optimizer`` says how the layers are updated, and whose methods' modules are trained."""

    args: OptimizerArguments
    optimizer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.args.optimizer == "muon" and (self.optimizer, self.optimizer_cls_and_kwargs) != (None, None):
            raise ValueError(
                "optimizer: expected Trainer's own AdamW beside optimizer='muon', found `optimizers` or "
                "`optimizer_cls_and_kwargs`; leave one of them out"
            )

    def _body(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model without its head."""
        return getattr(model, "base_model", model)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Trainer's optimizer, or Muon with it, and a group of parameters for each method that trains modules.

        Raises:
            InputError: the layers have no matrices for Muon to train.
        """
        made = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if made and self.args.optimizer == "muon":
            optimizer = self.optimizer = _with_muon(optimizer, self._body(self.model if model is None else model))
        if made:
            for group in self.seam.parameter_groups():
                optimizer.add_param_group(group)
        return optimizer


def _with_muon(optimizer: torch.optim.Optimizer, body: torch.nn.Module) -> MuonWithAdamW:
    if type(optimizer) is not torch.optim.AdamW:  # the arguments were changed after they were checked
        raise ValueError(f"optim: expected AdamW with optimizer='muon', found {type(optimizer).__name__}")
    matrices = {name: weight for name, weight in layer_matrices(body).items() if weight.requires_grad}
    if not matrices:
        raise InputError(
            "--optimizer muon: expected a student with layers of linear maps that are trained, found none in "
            f"{type(body).__name__}; use adamw"
        )
    made = MuonWithAdamW(optimizer, matrices.values())
    inside = sum(weight.numel() for weight in matrices.values())
    others = sum(weight.numel() for group in made.param_groups if not group["muon"] for weight in group["params"])
    logger.info(
        "training: Muon updates %d matrices of the layers (%s weights), AdamW the other %s weights",
        len(matrices), f"{inside:,}", f"{others:,}",
    )  # fmt: skip
    return made
