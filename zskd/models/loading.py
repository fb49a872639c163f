"""Loading classifiers from a folder, the Hub or a packaged adapter, and their fingerprints."""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.hub.ask import is_local, resolve_revision
from zskd.models.backbones import fetch_backbone, known_backbone
from zskd.models.folder_files import check_folder
from zskd.models.labels import (
    LENGTH_FIELD,
    TEXTS_FIELD,
    check_saved_head,
    head_names,
    label_names,
    make_single_label,
    read_model_config,
)
from zskd.models.output_layer import fit_head
from zskd.models.tokenizers import load_tokenizer
from zskd.models.weights import load_checked, load_config, read_config
from zskd.system.paths import expanded, is_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a model's files are: a local folder or a Hub id, with its commit."""

    name: str
    revision: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for ``from_pretrained`` besides the name."""
        return {"revision": self.revision} if self.revision else {}


def find_model(name: str, revision: str | None, *, flag: str) -> Origin:
    """Resolve a folder or Hub id without loading weights.

    Raises:
        InputError: see `zskd.hub.ask.resolve_revision`; or a local path is not a folder.
    """
    if is_local(name):
        folder = expanded(name)
        if not is_folder(folder):
            raise InputError(f"{flag} {name}: expected a model folder or a Hub id, found no such folder")
        check_folder(folder, flag=flag)
        return Origin(str(folder))
    return Origin(name, resolve_revision(name, revision, flag=flag))


def load_weights(origin: Origin, *, flag: str, new_head: dict[str, Any] | None = None) -> PreTrainedModel:
    """Load a sequence classifier in float32 and evaluation mode.

    Args:
        new_head: configuration values (``num_labels``, ``id2label``, ``label2id``) of a head that may be new, because
            the model will be trained; None if all weights must be in the files. A head with the same names is kept, its
            classes in the order of ``id2label``; any other is new, which the log says.

    Raises:
        InputError: the files do not load, other weights are missing or have another shape, or the outputs of a model
            that must be whole mean something else than one label of several.
    """
    return load_head(origin, flag=flag, new_head=new_head)[0]


def load_head(
    origin: Origin, *, flag: str, new_head: dict[str, Any] | None = None, level: int = logging.INFO
) -> tuple[PreTrainedModel, list[str]]:
    """`load_weights`, and the names of the weights that are new, which the log says at a level."""
    shown = f"{flag} {origin.name}"
    content = read_config(origin.name, flag=flag, **origin.arguments)
    if new_head is None:
        check_saved_head(content, shown)
    config = load_config(origin.name, flag=flag, **origin.arguments, **(new_head or {}))
    changed = [] if new_head is None else make_single_label(config)
    kind = AutoModelForSequenceClassification
    model, new = load_checked(
        kind, origin.name, flag=flag, new_head=new_head is not None, config=config, **origin.arguments
    )
    if new_head is None:
        return model, new
    if changed:
        logger.log(level, "%s: config.json says %s; it is trained for one label of several", shown, ", ".join(changed))
    labels = tuple(new_head["id2label"].values())
    return model, fit_head(model, head_names(content), labels, new, shown=shown, level=level)


def load_adapted(folder: Path, cache: Path, *, flag: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a LoRA adapter folder written by `zskd finetune`, merged into its backbone.

    Returns:
        The merged classifier (float32, evaluation mode) and its tokenizer.

    Raises:
        InputError: adapter or backbone do not load, or the adapter lacks matrices, its head, or whatever else the
            backbone has no weights for.
    """
    from zskd.models.adapters import base_of, merge_adapter

    shown = f"{flag} {folder}"
    content = read_model_config(folder, flag=flag)
    check_saved_head(content, shown)
    names = dict(enumerate(label_names(content, shown)))
    head = {"num_labels": len(names), "id2label": names, "label2id": {v: k for k, v in names.items()}}
    origin = backbone_origin(base_of(folder, flag=flag), cache, flag=flag)
    model, new = load_head(origin, flag=flag, new_head=head, level=logging.DEBUG)  # the adapter brings what is new
    # The adapter's values, not the backbone's.
    model.config.update({name: content.get(name) for name in (TEXTS_FIELD, LENGTH_FIELD)})
    merged = merge_adapter(model, folder, new, flag=flag)
    return merged.to(torch.float32).eval(), load_tokenizer(origin, flag=flag)


def backbone_origin(name: str, cache: Path, *, flag: str) -> Origin:
    """Origin of a backbone: a name that `known_backbone` knows, any other Hub id, or a folder."""
    if (backbone := known_backbone(name)) is not None:
        return Origin(str(fetch_backbone(backbone, cache)))
    return find_model(name, None, flag=flag)


def model_fingerprint(model: torch.nn.Module, *, without: Collection[str] = ()) -> str:
    """Hex SHA-256 over the names, shapes and bytes of all weights.

    Args:
        without: names of weights that do not count.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name in without:
            continue
        digest.update(name.encode())
        digest.update(struct.pack(f"<{tensor.dim()}q", *tensor.shape))
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def count_parameters(model: torch.nn.Module) -> int:
    """Number of parameters, embeddings included, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
