"""LoRA adapters: making new ones, starting from another one, and saving them as small files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from zskd.errors import InputError
from zskd.models.backbones import known_backbone
from zskd.models.folder_files import ADAPTER, check_folder
from zskd.models.labels import make_single_label, read_folder_json
from zskd.models.reading import reading
from zskd.models.weights import listed, unwrapped
from zskd.system.yaml_text import brief

logger = logging.getLogger(__name__)

_HEADS = ("classifier.", "score.")  # that peft trains and saves by itself
LONGEST_PATH = 1024  # characters of a base's name


def new_adapter(
    model: PreTrainedModel, rank: int, new: Sequence[str] = (), *, last_layers: int | None = None
) -> PeftModel:
    """Add untrained LoRA matrices to every linear map of a classifier's body; its head is trained too.

    Args:
        new: weights of the model that are random. What they belong to, a pooler or a part of the head, is trained
            whole and saved with the adapter, because no file has it.
        last_layers: adapt only so many layers, the last ones, and what follows them; None for all.

    Raises:
        InputError: the model has no such maps, or fewer layers.
    """
    whole = {_module_of(name) for name in new if not name.startswith(_HEADS)}
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.1,
        target_modules=_linear_maps(model, whole, last_layers),
        modules_to_save=sorted(whole) or None,
    )
    return get_peft_model(model, config)


def _module_of(weight: str) -> str:
    before, pooler, _ = weight.rpartition(".pooler.")
    return f"{before}.pooler" if pooler else weight.rpartition(".")[0]


def _linear_maps(model: PreTrainedModel, without: Collection[str], last_layers: int | None) -> list[str]:
    """Names of the linear maps of the body, for which every family has words of its own."""
    body = model.base_model
    inside = {id(module) for module in body.modules()} if body is not model else set()
    found = {name: module for name, module in model.named_modules() if id(module) in inside}
    maps = [
        name
        for name, module in found.items()
        if isinstance(module, torch.nn.Linear) and not any(name.startswith(f"{other}.") for other in without)
    ]
    if last_layers is not None:
        stacks = {name: module for name, module in found.items() if isinstance(module, torch.nn.ModuleList)}
        stack = max(stacks, key=lambda name: sum(p.numel() for p in stacks[name].parameters()), default="")
        layers = len(stacks[stack]) if stack else 0
        if getattr(model.config, "is_encoder_decoder", False):
            raise InputError(f"--last-layers {last_layers}: expected a base with one stack of layers, found two")
        if last_layers > layers:
            raise InputError(f"--last-layers {last_layers}: expected at most {layers}, the layers of the base")
        # What stands before them, embeddings and a map to the layers' width among it, is left alone.
        names = list(found)
        first = names.index(f"{stack}.{layers - last_layers}")
        maps = [name for name in maps if names.index(name) > first]
    if not maps:
        raise InputError(
            f"--base {model.name_or_path}: expected linear maps (torch.nn.Linear) to adapt in {type(model).__name__}, "
            "found none; train all weights (--full)"
        )
    return maps


def start_from(model: PeftModel, folder: Path) -> None:
    """Copy another adapter's matrices into a new one. The head stays new, because the labels may differ.

    Raises:
        InputError: the adapter does not load, or its matrices have other names or shapes.
    """
    shown = f"--adapter {folder}"
    saved = _read(folder, flag="--adapter")
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    matrices = {name: value.float() for name, value in saved.items() if "lora_" in name}
    expected = {name: value.shape for name, value in wanted.items() if "lora_" in name}
    found = {name: value.shape for name, value in matrices.items()}
    if found != expected:
        other = [
            f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
            for name in sorted(found.keys() & expected)
            if found[name] != expected[name]
        ]
        other += [f"no {name}" for name in sorted(expected.keys() - found)]
        other += [f"{name} besides" for name in sorted(found.keys() - expected)]
        raise InputError(f"{shown}: its matrices do not fit --base, --rank and --last-layers; found {listed(other)}")
    # A pooler that the base lacks belongs to the matrices, which were trained with it.
    poolers = {name: value.float() for name, value in saved.items() if ".pooler." in name and name in wanted}
    set_peft_model_state_dict(model, {**wanted, **poolers, **matrices})
    logger.info("%s: %d matrices are its own; the head is new, because its labels may differ", shown, len(matrices))


def base_of(folder: Path, *, flag: str) -> str:
    """Name of the backbone that an adapter belongs to.

    Raises:
        InputError: ``adapter_config.json`` is not JSON or names none, or the adapter is not of LoRA's kind.
    """
    content = read_folder_json(folder, "adapter_config.json", flag=flag)
    base = content.get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip() or "\0" in base or len(base) > LONGEST_PATH:
        found = "none" if base is None else brief(base)
        raise InputError(
            f"{flag} {folder}: expected base_model_name_or_path in its adapter_config.json, a folder or Hub id, found "
            f"{found}"
        )
    if (kind := content.get("peft_type", "LORA")) != "LORA":
        raise InputError(f"{flag} {folder}: expected an adapter with peft_type LORA, found {brief(kind)}")
    # The one would import a module that it names, the other builds the base's layers as often as it says.
    for name in ("megatron_config", "layer_replication"):
        if content.get(name) is not None:
            raise InputError(
                f"{flag} {folder}: expected an adapter of the base as it is, found {name} in its adapter_config.json"
            )
    return base


def merge_adapter(model: PreTrainedModel, folder: Path, new: Sequence[str], *, flag: str) -> PreTrainedModel:
    """Merge a saved adapter into its backbone.

    Args:
        new: weights of the backbone that are random, which the adapter has to bring with it.

    Raises:
        InputError: the adapter does not load, lacks weights, or has some that the backbone has no place for.
    """
    shown, saved = f"{flag} {folder}", _read(folder, flag=flag)
    brought = {name.removeprefix("base_model.model.") for name in saved}
    if lacking := [name for name in new if name not in brought]:
        modules = sorted({name.rpartition(".")[0] for name in lacking})
        raise InputError(
            f"{shown}: expected an adapter with all that its base lacks, found no weights for {listed(modules)}; save "
            "it with them in modules_to_save"
        )
    with reading(shown, "the adapter does not fit its base"):
        config = LoraConfig.from_pretrained(str(folder))
    config.base_model_name_or_path = model.name_or_path  # peft would warn of another name
    _check_rank(config, saved, shown)
    with reading(shown, "the adapter does not fit its base"):
        wrapped = get_peft_model(model, config)
        result = set_peft_model_state_dict(wrapped, saved)
    missing = [name for name in result.missing_keys if "lora_" in name or ".modules_to_save." in name]
    # With biases trained, peft saves those of a module in modules_to_save a second time.
    spare = [name for name in result.unexpected_keys if name.replace(".modules_to_save.", ".") not in saved]
    wrong = [f"no {name}" for name in missing] + [f"{name} without a place for it" for name in spare]
    if wrong:
        raise InputError(
            f"{shown}: expected weights for all modules that its adapter_config.json names, found {listed(wrong)}"
        )
    with reading(shown, "the adapter does not fit its base"):
        merged: PreTrainedModel = wrapped.merge_and_unload()
    return merged


def _check_rank(config: LoraConfig, saved: dict[str, torch.Tensor], shown: str) -> None:
    """Refuse ranks that no saved matrix has, before matrices of that size are made."""
    # lora_A and lora_embedding_A have a row for each.
    found = {value.shape[0] for name, value in saved.items() if "lora_" in name and "_A" in name and value.dim() > 1}
    pattern = config.rank_pattern or {}
    ranks = [config.r, *pattern.values()] if isinstance(pattern, dict) else [pattern]
    if odd := [rank for rank in ranks if isinstance(rank, bool) or not isinstance(rank, int)]:
        raise InputError(
            f"{shown}: expected whole numbers as r and in rank_pattern in its adapter_config.json, "
            f"found {brief(odd[0])}"
        )
    if other := [rank for rank in ranks if rank > max(found, default=0)]:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise InputError(
            f"{shown}: expected the rank of its matrices ({known}) as r in its adapter_config.json, found "
            f"{brief(other[0])}"
        )


def _read(folder: Path, *, flag: str) -> dict[str, torch.Tensor]:
    """The weights of an adapter folder."""
    if not check_folder(folder, flag=flag, weights=ADAPTER):
        raise InputError(f"{flag} {folder}: expected {' or '.join(ADAPTER)} in it, found none")
    with reading(f"{flag} {folder}", "the adapter does not load"):
        found: dict[str, torch.Tensor] = load_peft_weights(str(folder), device="cpu")
    named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
    if not named or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{flag} {folder}: expected named matrices in its adapter_model.bin, found something else")
    names = Counter(unwrapped(name) for name in found)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise InputError(f"{flag} {folder}: expected every weight once, found two of {listed(twice)}")
    return dict(zip(names, found.values(), strict=True))


def save_adapter(model: PeftModel, folder: Path, base: str) -> None:
    """Save an adapter in float16, with the upstream name of its backbone and the label names."""
    known = known_backbone(base)
    model.peft_config["default"].base_model_name_or_path = base if known is None else known.repo_id
    # Word embeddings are not trained. To find that out by itself, peft would ask the Hub.
    model.save_pretrained(folder, save_embedding_layers=False)
    weights = folder / "adapter_model.safetensors"
    save_file({k: v.to(torch.float16) for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card template
    inner: PreTrainedModel = model.get_base_model()
    make_single_label(inner.config)
    inner.config.architectures = [type(inner).__name__]  # not the base's, which may be that of another kind of model
    inner.config.save_pretrained(folder)
