"""How a student computes during training on a CPU: with fast layers, and each micro-batch in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from zskd.models.fast_layers import make_fast, make_stock
from zskd.training.pieces import Pieces

if TYPE_CHECKING:
    from zskd.training.trainer import ZeroShotTrainer


class FastStudent(TrainerCallback):
    """Gives a student fast layers (`zskd.models.fast_layers`) when training begins.

    It is a context manager around the training, which takes them away at the end.

    Args:
        in_pieces: False if the trainer's loss may be something else than a mean over rows.

    Attributes:
        pieces: threads for the pieces of a micro-batch; None if it is computed as a whole. It is where rows could not
            be told apart (dropout draws from one generator, a method's hooks see a whole micro-batch), where gradients
            take another way (several processes, 16 bits, hooks of weights), or where there is one thread.
        weights: the weights that `pieces` compute gradients for.
    """

    def __init__(self, trainer: ZeroShotTrainer, *, in_pieces: bool = True) -> None:
        self.trainer, self.in_pieces = trainer, in_pieces
        self.pieces: Pieces | None = None
        self.weights: list[torch.nn.Parameter] = []
        self._changed: list[tuple[torch.nn.Module, type]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        """Change the student that is trained."""
        student = self.trainer.accelerator.unwrap_model(model)
        if not isinstance(student, PreTrainedModel):
            return
        student.train()
        self._changed = make_fast(
            student,
            first_token=not self.trainer.seam.wants_states,
            fused=self.trainer.accelerator.mixed_precision == "no" and student.dtype == torch.float32,
        )
        if self.in_pieces and self._changed and self._splits(student):
            self.weights = [weight for weight in student.parameters() if weight.requires_grad]
            pieces = Pieces(torch.get_num_threads(), args.per_device_train_batch_size)
            self.pieces = pieces.__enter__() if pieces.count > 1 else None

    def _splits(self, student: PreTrainedModel) -> bool:
        trainer, args = self.trainer, self.trainer.args
        return not (
            trainer.seam
            or trainer.accelerator.num_processes > 1
            or trainer.accelerator.mixed_precision != "no"
            or args.gradient_checkpointing  # it knows no other way to a gradient than `backward`
            or trainer.is_deepspeed_enabled
            or any(isinstance(module, torch.nn.Dropout) and module.p for module in student.modules())
            or any(weight._backward_hooks or weight._post_accumulate_grad_hooks for weight in student.parameters())
        )

    def step(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor | None:
        """Trainer's step on a micro-batch, in pieces; returns the loss, or None where there are no pieces."""
        trainer = self.trainer
        if self.pieces is None or not _in_rows(batch := trainer._prepare_inputs(inputs)):
            return None
        model.train()
        if callable(getattr(trainer.optimizer, "train", None)):
            trainer.optimizer.train()
        share = 1 / trainer.current_gradient_accumulation_steps

        def loss(rows: dict[str, torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = trainer.compute_loss(model, rows)
            return found * share

        value, found = self.pieces.gradients(loss, batch, self.weights)
        for weight, gradient in zip(self.weights, found, strict=True):
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else weight.grad + gradient
        return value

    def __enter__(self) -> FastStudent:
        return self

    def __exit__(self, *_: object) -> None:
        make_stock(self._changed)
        self._changed = []
        if self.pieces is not None:
            self.pieces.__exit__()
        self.pieces = None


def _in_rows(batch: dict[str, Any]) -> bool:
    """Whether all values of a batch are tensors with one entry a row."""
    rows = {len(value) if isinstance(value, torch.Tensor) and value.dim() else None for value in batch.values()}
    return len(rows) == 1 and None not in rows
