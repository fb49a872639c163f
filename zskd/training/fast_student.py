"""How a student computes during training on a CPU: with fast layers, and each micro-batch in pieces."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from zskd.models.fast_layers import make_fast, make_stock
from zskd.training.pieces import Pieces

if TYPE_CHECKING:
    from zskd.training.trainer import ZeroShotTrainer


class FastStudent(TrainerCallback):
    """Gives a student fast layers (`zskd.models.fast_layers`) when the first epoch begins.

    It is a context manager around the training, which takes them away at the end. Layers are fused, and the last one
    computes the first token only, where zskd's own loss and methods alone read what the student computes: others may
    take a second derivative, or read hidden states. Hooks that are set on parts of layers later are not called.

    Args:
        usual: `ZeroShotTrainer`, to tell the loss of a trainer of another class from the usual one.

    Attributes:
        pieces: threads for the pieces of a micro-batch; None if it is computed as a whole. It is where rows could not
            be told apart (dropout draws from one generator, a method's hooks see a whole micro-batch), where gradients
            take another way (several processes, 16 bits, hooks of weights), where the loss may be no mean over rows, or
            where there is one thread.
        weights: of the student; callbacks may freeze some and thaw others in the middle of a training.
    """

    def __init__(self, trainer: ZeroShotTrainer, usual: type[ZeroShotTrainer]) -> None:
        self.trainer, self.usual = trainer, usual
        self.pieces: Pieces | None = None
        self.weights: list[torch.nn.Parameter] = []
        self._at_end = ExitStack()
        self._begun = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Undo an attempt that ran out of memory, after which Trainer begins anew (``auto_find_batch_size``)."""
        self.__exit__()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        """Change the student that is trained, after all callbacks have seen its training begin."""
        student = self.trainer.accelerator.unwrap_model(model)
        if self._begun or not isinstance(student, PreTrainedModel):
            return
        self._begun = True
        student.train()
        seam, usual = self.trainer.seam, self._has_usual_loss()
        own = usual and all(type(method).__module__.partition(".")[0] == "zskd" for method in seam.methods)
        changed = make_fast(
            student,
            first_token=own and not seam.wants_states,
            fused=own and self.trainer.accelerator.mixed_precision == "no" and student.dtype == torch.float32,
        )
        self._at_end.callback(make_stock, changed)
        if usual and changed and self._splits(student):
            self.weights = list(student.parameters())
            pieces = Pieces(torch.get_num_threads(), self.trainer._train_batch_size)
            self.pieces = self._at_end.enter_context(pieces) if pieces.count > 1 else None

    def _has_usual_loss(self) -> bool:
        """Whether neither the trainer nor its class has a loss of its own."""
        return all(
            getattr(getattr(self.trainer, name), "__func__", None) is getattr(self.usual, name)
            for name in ("compute_loss", "distillation_loss")
        )

    def _splits(self, student: PreTrainedModel) -> bool:
        trainer = self.trainer
        return not (
            trainer.seam
            or trainer.accelerator.num_processes > 1
            or trainer.accelerator.mixed_precision != "no"
            or trainer.is_deepspeed_enabled
            or any(isinstance(module, torch.nn.Dropout) and module.p for module in student.modules())
            # Checkpointing knows no other way to a gradient than `backward`.
            or any(getattr(module, "gradient_checkpointing", False) for module in student.modules())
            or any(_hooked(weight) for weight in student.parameters())
            or trainer.accelerator.has_lomo_optimizer  # it updates weights in `backward`
        )

    def step(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor | None:
        """Trainer's step on a micro-batch, in pieces; returns the loss, or None where there are no pieces."""
        trainer = self.trainer
        if self.pieces is None or not _in_rows(batch := trainer._prepare_inputs(inputs)):
            return None
        if any(_hooked(weight) for weight in self.weights):
            return None
        weights = [weight for weight in self.weights if weight.requires_grad]
        model.train()
        if callable(getattr(trainer.optimizer, "train", None)):
            trainer.optimizer.train()
        share = 1 / trainer.current_gradient_accumulation_steps

        def loss(rows: dict[str, torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = trainer.compute_loss(model, rows)
            return found * share

        return self.pieces.accumulate(loss, batch, weights)

    def __enter__(self) -> FastStudent:
        return self

    def __exit__(self, *_: object) -> None:
        self._begun, self.pieces = False, None
        self._at_end.close()


def _hooked(weight: torch.nn.Parameter) -> bool:
    return bool(weight._backward_hooks or weight._post_accumulate_grad_hooks)


def _in_rows(batch: dict[str, Any]) -> bool:
    """Whether all values of a batch are tensors with one entry a row."""
    rows = {len(value) if isinstance(value, torch.Tensor) and value.dim() else None for value in batch.values()}
    return len(rows) == 1 and None not in rows
