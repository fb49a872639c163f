"""The model card that `ZeroShotTrainer` writes, from what the Trainer knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import huggingface_hub
from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedModel, TrainerState, TrainingArguments

from zskd.hub.cards import packaged_template, render_card
from zskd.models.labels import recorded_length
from zskd.models.loading import count_parameters
from zskd.runs.loss import loss_of

TEMPLATE = "trainer_card.md.jinja"

# Arguments that the card shows; no paths or tokens are among them.
_SHOWN = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "weight_decay",
    "seed",
)


def _arguments(args: TrainingArguments) -> dict[str, Any]:
    """Those that had an effect: a number of steps overrules that of the epochs, some objectives use no temperature."""
    unused = "num_train_epochs" if args.max_steps > 0 else "max_steps"
    found = {name: getattr(args, name) for name in _SHOWN if name != unused}
    if (optimizer := vars(args).get("optimizer", "adamw")) != "adamw":
        found["optimizer"] = optimizer
    loss = loss_of(vars(args))
    if loss.temperature is not None:
        found["temperature"] = loss.temperature
    return found | ({"processes": args.world_size} if args.world_size > 1 else {})


def trainer_card(
    args: TrainingArguments,
    state: TrainerState,
    model: PreTrainedModel,
    repo_id: str,
    *,
    methods: Sequence[str] = (),
    language: str | None = None,
    license: str | None = None,
    tags: list[str] | str | None = None,
    finetuned_from: str | None = None,
    dataset: list[str] | str | None = None,
) -> ModelCard:
    """Render the card.

    Args:
        repo_id: the model's repository, ``USER/NAME``.
        methods: what each method did, as phrases that continue ``trained with zskd``.
        language, license, tags, dataset: metadata of that name.
        finetuned_from: Hub id of the model that the student started from.

    Raises:
        InputError: the template does not render.
    """
    from zskd import __version__

    best = state.best_global_step if args.load_best_model_at_end else None
    step = best or state.global_step  # whose weights these are
    scored = [entry for entry in state.log_history if "eval_agreement" in entry and entry["step"] == step]
    more = [tags] if isinstance(tags, str) else list(tags or [])
    data = ModelCardData(
        base_model=finetuned_from,
        datasets=dataset,
        language=language,
        library_name="transformers",
        license=license,
        pipeline_tag="text-classification",
        tags=["knowledge-distillation", "zskd", *more],
    )
    values: dict[str, Any] = {
        "repo_id": repo_id,
        "labels": list(model.config.id2label.values()),
        "parameters": count_parameters(model),
        "trained": recorded_length(model.config.to_dict(), repo_id),
        "steps": state.global_step,
        "objective": loss_of(vars(args)).words,
        "arguments": _arguments(args),
        "weights": step,
        "methods": list(methods),
        "agreement": scored[-1] if scored else None,
        "versions": {"zskd": __version__, "huggingface_hub": huggingface_hub.__version__},
    }
    return render_card(packaged_template(TEMPLATE), data, **values)
