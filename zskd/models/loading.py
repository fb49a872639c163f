"""Loading classifiers and tokenizers from a folder, the Hub or a packaged adapter, and their fingerprints."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.hub.ask import is_local, resolve_revision
from zskd.models.backbones import BACKBONES, EMBEDDED, fetch_backbone
from zskd.models.labels import TEXTS_FIELD
from zskd.models.quiet import quiet_transformers


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
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise InputError(f"{flag} {name}: expected a model folder or a Hub id, found no such folder")
        return Origin(str(folder))
    return Origin(name, resolve_revision(name, revision, flag=flag))


def load_tokenizer(origin: Origin, *, flag: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Raises:
        InputError: there is no tokenizer, it does not know ordinary words, or a package it needs is missing.
    """
    tokenizer: PreTrainedTokenizerBase
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(origin.name, **origin.arguments)
            if _lost_segments(origin, tokenizer):
                names = ["input_ids", "token_type_ids", "attention_mask"]
                tokenizer = AutoTokenizer.from_pretrained(origin.name, model_input_names=names, **origin.arguments)
    except Exception as error:  # the Rust library raises plain exceptions
        raise InputError(f"{flag} {origin.name}: the tokenizer does not load: {_tokenizer_problem(error)}") from error
    if len(tokenizer) < 8:
        # Some tokenizer classes load without a vocabulary and then map every word to [UNK].
        raise InputError(
            f"{flag} {origin.name}: its tokenizer knows {len(tokenizer)} tokens; the vocabulary is missing"
        )
    if not _knows_words(tokenizer):
        raise InputError(f"{flag} {origin.name}: its tokenizer answers {tokenizer.unk_token} to ordinary words")
    return tokenizer


def _knows_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has a token for any of a few English words, or for words of its own vocabulary."""

    def known(words: str) -> bool:
        return not set(tokenizer(words, add_special_tokens=False)["input_ids"]) <= {tokenizer.unk_token_id}

    if known("one of them"):
        return True
    # A vocabulary of Greek or German words may have none of these.
    own = (token.lstrip("▁Ġ") for token in sorted(tokenizer.get_vocab()))
    return known(" ".join(itertools.islice((word for word in own if word.isalpha()), 50)))


def _lost_segments(origin: Origin, tokenizer: PreTrainedTokenizerBase) -> bool:
    """True for an ALBERT tokenizer that gave ``token_type_ids`` when its model was trained, and no longer does.

    transformers 4 gave them; transformers 5 leaves them out without a warning (its issue 48128), and a teacher of pairs
    would receive inputs that it was never trained on. Folders that list their inputs, as every saved student of such a
    teacher does, and folders that transformers 5 wrote are not affected.
    """
    if type(tokenizer).__name__ != "AlbertTokenizer" or "model_input_names" in tokenizer.init_kwargs:
        return False
    config = AutoConfig.from_pretrained(origin.name, **origin.arguments)
    return getattr(config, "type_vocab_size", 0) > 1 and not str(config.transformers_version).startswith("5.")


def _tokenizer_problem(error: Exception) -> str:
    line = _first_line(error)
    if any(word in line for word in (".model", "tiktoken", "SentencePiece", "protobuf")):
        # transformers hides the reason, takes the file for one of tiktoken's and asks for that package.
        return (
            "a `.model` file takes the packages sentencepiece and protobuf, in versions that fit "
            "(pip install 'zskd[sentencepiece]'); where these are installed, the file is damaged"
        )
    return line


def load_weights(origin: Origin, *, flag: str, new_head: dict[str, Any] | None = None) -> PreTrainedModel:
    """Load a sequence classifier in float32 and evaluation mode.

    Args:
        new_head: configuration values (``num_labels``, ``id2label``, ``label2id``) of a head that may be newly
            initialised, because the model will be trained; None if all weights must be in the files.

    Raises:
        InputError: the files do not load, or needed weights are missing.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(origin.name, **origin.arguments, **(new_head or {}))
            model, info = AutoModelForSequenceClassification.from_pretrained(
                origin.name,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=new_head is not None,
                **origin.arguments,
            )
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        EOFError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise InputError(f"{flag} {origin.name}: the model does not load: {_first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing and new_head is None:
        raise InputError(
            f"{flag} {origin.name}: expected a fine-tuned sequence classifier, found none of the weights "
            f"{', '.join(missing[:4])}"
        )
    return model.eval()


def load_adapted(folder: Path, cache: Path, *, flag: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a LoRA adapter folder written by `zskd finetune`, merged into its backbone.

    Returns:
        The merged classifier (float32, evaluation mode) and its tokenizer.
    """
    from peft import PeftModel

    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    config = AutoConfig.from_pretrained(folder)
    head = {"num_labels": config.num_labels, "id2label": config.id2label, "label2id": config.label2id}
    origin = backbone_origin(base, cache, flag=flag)
    model = load_weights(origin, flag=flag, new_head=head)
    model.config.update({TEXTS_FIELD: getattr(config, TEXTS_FIELD, None)})  # the adapter's value, not the backbone's
    merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return merged.to(torch.float32).eval(), load_tokenizer(origin, flag=flag)


def backbone_origin(name: str, cache: Path, *, flag: str) -> Origin:
    """Origin of a backbone: ``embedded``, the Hub id of a known backbone, any other Hub id, or a folder."""
    if name == "embedded":
        return Origin(str(fetch_backbone(EMBEDDED, cache)))
    for backbone in BACKBONES.values():
        if name in (backbone.name, backbone.repo_id):
            return Origin(str(fetch_backbone(backbone, cache)))
    return find_model(name, None, flag=flag)


def model_fingerprint(model: torch.nn.Module) -> str:
    """Hex SHA-256 over the names, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(struct.pack(f"<{tensor.dim()}q", *tensor.shape))
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over everything that decides the ids of a text."""
    digest = hashlib.sha256(type(tokenizer).__name__.encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # Earlier calls leave padding and truncation set on the backend; neither is part of the fingerprint.
        state.pop("truncation", None)
        state.pop("padding", None)
        digest.update(json.dumps(state, sort_keys=True).encode())
    else:
        digest.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    return digest.hexdigest()


def count_parameters(model: torch.nn.Module) -> int:
    """Number of parameters, embeddings included, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
