"""Model folders of many families, tiny and random, as transformers 4 wrote them, and their logits without zskd.

A folder holds what a folder of the Hub holds: ``tokenizer.json``, a ``tokenizer_config.json`` that names the class, a
``config.json`` of version 4 and weights. The reference is the file's own ids and, where the class gave them in version
4, the file's own segments, read by the model one text at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from recipes.tiny import prose, word_tokenizer

LABELS = ("no", "yes")
# One text: of very different lengths. Two texts: the same and their reverse.
TEXTS = [
    "The old river crosses the royal valley.", "a village", *prose(5, seed=3),
    "In 1874 the wooden engine joins the quiet harbour, the famous museum and the narrow railway; a painter follows.",
]  # fmt: skip
_LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@dataclass(frozen=True)
class Family:
    """How to make a family's folder.

    Attributes:
        kind: ``model_type``.
        tokenizer: makes the backend.
        named: class in ``tokenizer_config.json``.
        special: special tokens there.
        segments: whether the class gave ``token_type_ids`` in transformers 4.
        shape: values of the configuration beside its sizes.
    """

    kind: str
    tokenizer: Callable[[], Tokenizer]
    named: str
    special: dict[str, str]
    segments: bool = False
    shape: dict[str, Any] = field(default_factory=dict)


_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_SAID = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>",
         "bos_token": "<s>", "eos_token": "</s>"}  # fmt: skip
_PIECES = _BERT | {"pad_token": "<pad>", "unk_token": "<unk>"}


def words() -> Tokenizer:
    """BERT's WordPiece tokenizer."""
    return word_tokenizer(prose(600)).backend_tokenizer


def _mpnet() -> Tokenizer:
    order = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    known = [token for token in word_tokenizer(prose(600)).get_vocab() if not token.startswith("[")]
    vocab = {token: i for i, token in enumerate([*order, *sorted(known)])}
    return transformers.MPNetTokenizer(vocab=vocab).backend_tokenizer


def _pieces(named: str, *special: str, lower: bool = False) -> Callable[[], Tokenizer]:
    """A SentencePiece tokenizer of a class, of words with a space before and of letters."""

    def make() -> Tokenizer:
        text = " ".join(prose(600)).replace(".", " . ")
        found = sorted(set((text.lower() if lower else text).split()))
        letters = sorted({letter for word in found for letter in word} | set(".,;:0123456789"))
        pieces = [(f"▁{word}", -6.0) for word in found if len(word) > 1] + [(letter, -9.0) for letter in letters]
        vocab = [(token, 0.0) for token in special] + [("▁", -8.0), *pieces]
        return getattr(transformers, named)(vocab=vocab).backend_tokenizer

    return make


def _rembert() -> Tokenizer:
    """As version 4 wrote it; the class of version 5 takes [CLS] for the unknown piece, and forgets its own template."""
    backend = _pieces("RemBertTokenizer", "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")()
    state = json.loads(backend.to_str())
    state["model"]["unk_id"] = 1
    backend = Tokenizer.from_str(json.dumps(state))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def _bytes(*special: str, template: Callable[[Tokenizer], Any] | None = None) -> Callable[[], Tokenizer]:
    def make() -> Tokenizer:
        made = ByteLevelBPETokenizer()
        made.train_from_iterator(prose(600), vocab_size=400, special_tokens=list(special))
        backend = Tokenizer.from_str(made._tokenizer.to_str())
        if template:
            backend.post_processor = template(backend)
        return backend

    return make


def _roberta(backend: Tokenizer) -> Any:
    return processors.RobertaProcessing(("</s>", backend.token_to_id("</s>")), ("<s>", backend.token_to_id("<s>")))


def _modern(backend: Tokenizer) -> Any:
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )


_FIVE = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
FAMILIES = {
    "bert": Family("bert", words, "BertTokenizer", _BERT, segments=True),
    "bert-own": Family("bert", words, "PreTrainedTokenizerFast", _BERT, segments=True),
    "roberta": Family("roberta", _bytes(*_FIVE, template=_roberta), "RobertaTokenizer", _SAID, False,
                      {"type_vocab_size": 1}),
    "distilbert": Family("distilbert", words, "DistilBertTokenizer", _BERT),
    "albert": Family("albert", _pieces("AlbertTokenizer", "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", lower=True),
                     "AlbertTokenizer", _PIECES, True, {"embedding_size": 16}),
    "electra": Family("electra", words, "ElectraTokenizer", _BERT, True, {"embedding_size": 16}),
    "deberta-v2": Family(
        "deberta-v2", _pieces("DebertaV2Tokenizer", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        "DebertaV2Tokenizer", _BERT, True,
        {"relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True,
         "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0},
    ),
    "mpnet": Family("mpnet", _mpnet, "MPNetTokenizer", _SAID | {"unk_token": "[UNK]"}),
    "modernbert": Family("modernbert", _bytes(*_BERT.values(), template=_modern), "PreTrainedTokenizerFast", _BERT,
                         False, {"global_attn_every_n_layers": 2, "local_attention": 16}),
    "xlnet": Family("xlnet", _pieces("XLNetTokenizer", "<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>",
                                     "<eod>", "<eop>"),
                    "XLNetTokenizer",
                    _SAID | {"cls_token": "<cls>", "sep_token": "<sep>", "padding_side": "left"}, True,
                    {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48}),
    "rembert": Family("rembert", _rembert,
                      "RemBertTokenizer", _PIECES, True,
                      {"input_embedding_size": 16, "output_embedding_size": 24}),
    "xlm-roberta": Family("xlm-roberta", _pieces("XLMRobertaTokenizer", "<s>", "<pad>", "</s>", "<unk>", "<mask>"),
                          "XLMRobertaTokenizer", _SAID, False, {"type_vocab_size": 1}),
    "gpt2": Family("gpt2", _bytes("<|endoftext|>", "<pad>"), "GPT2Tokenizer",
                   {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
                    "pad_token": "<pad>"},
                   False, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 130}),
}  # fmt: skip


def write_folder(
    folder: Path,
    family: str,
    *,
    config: dict[str, Any] | None = None,
    tokenizer_config: dict[str, Any] | None = None,
    change: Callable[[Tokenizer], None] | None = None,
    save: Callable[[PreTrainedModel, Path], None] | None = None,
) -> Path:
    """Write a family's folder.

    Args:
        config: further values of ``config.json``.
        tokenizer_config: further values of ``tokenizer_config.json``; None as a value leaves one out.
        change: changes the tokenizer before its file is written.
        save: saves the model; default ``save_pretrained``.
    """
    made = FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    backend = made.tokenizer()
    if change:
        change(backend)
    backend.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": made.named, "model_max_length": 128, **made.special, **(tokenizer_config or {})}
    said = {name: value for name, value in said.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    names = dict(enumerate(LABELS))
    layers = {} if made.kind in ("gpt2", "xlnet") else _LAYERS | {"max_position_embeddings": 130}
    if made.kind == "distilbert":
        layers = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 130}
    shape = layers | {
        "vocab_size": backend.get_vocab_size() + 3,  # a larger table is fine
        "initializer_range": 0.15,
        "id2label": names,
        "label2id": {name: i for i, name in names.items()},
        "pad_token_id": backend.token_to_id(made.special["pad_token"]),
    }
    for name in ("bos_token", "eos_token", *(("cls_token", "sep_token") if made.kind == "modernbert" else ())):
        shape[f"{name}_id"] = backend.token_to_id(made.special.get(name, "[none]"))
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(made.kind, **(shape | made.shape | (config or {})))
    ).eval()
    with torch.no_grad():  # every weight counts: zeros would hide what is left out
        for name, weight in model.named_parameters():
            if weight.ndim == 1 or "seg_embed" in name or "token_type" in name or "bias" in name:
                weight.add_(torch.randn_like(weight), alpha=0.1)
    (save or PreTrainedModel.save_pretrained)(model, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_version": "4.57.6"}))
    return folder


def columns(texts: int) -> tuple[list[str], ...]:
    """The texts of an input: one column or two."""
    return (TEXTS, TEXTS[::-1])[:texts]


def plain_inputs(folder: Path, row: tuple[str, ...], *, segments: bool) -> dict[str, torch.Tensor]:
    """What transformers 4 gave a model for one input: the file's ids."""
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    found = backend.encode(*row)
    given = {"input_ids": found.ids, "attention_mask": [1] * len(found.ids)}
    if segments:
        given["token_type_ids"] = found.type_ids
    return {name: torch.tensor([ids]) for name, ids in given.items()}


def plain_logits(folder: Path, texts: tuple[list[str], ...], *, segments: bool) -> np.ndarray:
    """Logits ``(rows, 2)`` of transformers alone, one input at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        rows = [model(**plain_inputs(folder, row, segments=segments)).logits for row in zip(*texts, strict=True)]
    return torch.cat(rows).numpy()
