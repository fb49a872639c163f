"""LoRA adapters: making new ones, starting from another one, and saving them as small files."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from zskd.errors import InputError
from zskd.models.backbones import BACKBONES

# Every linear map of a BERT layer, and the pooler: at rank 16 the adapter of a 384-wide model stays
# below 1.5 MB in float16.
LORA_TARGETS = ["query", "key", "value", "dense"]


def new_adapter(model: PreTrainedModel, rank: int) -> PeftModel:
    """Add untrained LoRA matrices to every linear map of a classifier; its head is trained too."""
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, lora_dropout=0.1, target_modules=LORA_TARGETS
    )
    return get_peft_model(model, config)


def start_from(model: PeftModel, folder: Path) -> None:
    """Copy another adapter's matrices into a new one. The head stays new, because the labels may differ.

    Raises:
        InputError: the adapter's matrices have other names or shapes.
    """
    saved = load_file(folder / "adapter_model.safetensors")
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    matrices = {name: value.float() for name, value in saved.items() if "lora_" in name}
    expected = {name: value.shape for name, value in wanted.items() if "lora_" in name}
    if {name: value.shape for name, value in matrices.items()} != expected:
        raise InputError(f"--adapter {folder}: its matrices do not fit --base and --rank")
    set_peft_model_state_dict(model, {**wanted, **matrices})


def save_adapter(model: PeftModel, folder: Path, base: str) -> None:
    """Save an adapter in float16, with the upstream name of its backbone and the label names."""
    known = {b.name: b.repo_id for b in BACKBONES.values()} | {"embedded": BACKBONES["minilm-l6"].repo_id}
    model.peft_config["default"].base_model_name_or_path = known.get(base, base)
    # Word embeddings are not trained. To find that out by itself, peft would ask the Hub.
    model.save_pretrained(folder, save_embedding_layers=False)
    weights = folder / "adapter_model.safetensors"
    save_file({k: v.to(torch.float16) for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card template
    inner: PreTrainedModel = model.get_base_model()
    inner.config.save_pretrained(folder)
