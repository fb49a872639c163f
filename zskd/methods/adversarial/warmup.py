"""The generator's warm-up: masked-LM training on the corpus, so that its first rows resemble that text."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.methods.adversarial.generator import masked_logits
from zskd.models.encoding import encode_texts, tell_cut
from zskd.models.quiet import keep_stdout_clean, quiet_transformers
from zskd.system import progress
from zskd.system.checksums import known_digest, write_checksum
from zskd.system.files import replacing, sha256_file
from zskd.system.processes import on_main
from zskd.system.seeds import Stream, seed_of
from zskd.text.corpus import Corpus

logger = logging.getLogger(__name__)

# Increase it when the same corpus and weights would give another generator.
FORMAT = 2

MASK_RATE = 0.3
BATCH = 64
LEARNING_RATE = 1.0e-3


class MaskedTrainer(Trainer):
    """Trains a masked language model; only masked positions are passed through its head.

    With several processes, all of them train on the same batches and end with the weights that one process would have.
    """

    loss_is_scaled_for_ga = False  # the mean over a micro-batch is computed here

    def get_train_dataloader(self) -> DataLoader:
        """All batches, not this process's share."""
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._get_train_sampler(self.train_dataset),
            collate_fn=self.data_collator,
            drop_last=self.args.dataloader_drop_last,
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean cross-entropy of the original tokens at masked positions."""
        labels = inputs.pop("labels")
        rows, columns = (labels != -100).nonzero(as_tuple=True)
        logits = masked_logits(self.accelerator.unwrap_model(model), inputs, rows, columns)
        loss = functional.cross_entropy(logits, labels[rows, columns])
        return (loss, {"loss": loss}) if return_outputs else loss


def warm_up(
    generator: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    *,
    pairs: bool,
    steps: int,
    max_length: int,
    precision: str,
    fingerprint: str,
    cache: Path,
) -> None:
    """Train a generator in place on a corpus, or take the weights of the same warm-up from the cache.

    The word embeddings stay frozen: a few hundred steps could not improve them, and their gradient would cost as much
    as that of all other weights together.

    Args:
        pairs: use two consecutive sentences as the two texts of an input.
        steps: optimizer steps of `BATCH` inputs.
        precision: ``fp32`` or ``bf16``.
        fingerprint: hash of the generator's weights before the warm-up.
    """
    key = json.dumps([FORMAT, fingerprint, corpus.fingerprint, pairs, steps, max_length, precision])
    path = cache / "generators" / hashlib.sha256(key.encode()).hexdigest()[:32]
    weights = path / "model.safetensors"
    if on_main(lambda: known_digest(weights, lambda kept: _fits(kept, generator))) is not None:
        generator.load_state_dict(load_file(weights), strict=False)  # a shared tensor: once
        generator.tie_weights()
        logger.info("generator: warmed up before, from the cache")
        return
    table = generator.get_input_embeddings().weight.requires_grad_(False)
    rows = _rows(corpus, tokenizer, pairs=pairs, count=steps * BATCH, max_length=max_length)
    _start_from_frequencies(generator, rows)
    collator = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=MASK_RATE, mask_replace_prob=1.0, random_replace_prob=0.0
    )
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        trainer = MaskedTrainer(
            generator,
            TrainingArguments(
                folder,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                warmup_steps=0.1,
                weight_decay=0.01,
                bf16=precision == "bf16",
                save_strategy="no",
                report_to="none",
                logging_steps=max(1, steps // 5),
                train_sampling_strategy="group_by_length",
                length_column_name="length",
                remove_unused_columns=False,
                seed=seed_of(Stream.WARM_UP),  # Trainer seeds the global generators, from which masks are drawn
                use_cpu=not torch.cuda.is_available(),
                dataloader_pin_memory=torch.cuda.is_available(),
                disable_tqdm=progress.hidden(),
            ),
            train_dataset=rows,
            data_collator=lambda batch: collator([{k: v for k, v in row.items() if k != "length"} for row in batch]),
        )
        keep_stdout_clean(trainer)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    logger.info("generator: %d steps of warm-up, masked-LM loss %s", steps, " ".join(f"{x:.2f}" for x in losses))
    table.requires_grad_(True)
    generator.eval()
    # `save_pretrained` writes in the main process alone; another would put an empty folder in its place.
    if PartialState().is_main_process:
        if not path.is_dir():
            path.unlink(missing_ok=True)  # a folder could not take its place
        with replacing(path) as temporary, quiet_transformers():
            generator.save_pretrained(temporary)
            written = temporary / weights.name
            write_checksum(written, sha256_file(written))


def _fits(path: Path, generator: PreTrainedModel) -> bool:
    """Whether a file holds weights of `generator`."""
    own = generator.state_dict()
    try:
        found = load_file(path)
    except SafetensorError:
        return False
    return bool(found) and all(name in own and own[name].shape == found[name].shape for name in found)


def _start_from_frequencies(generator: PreTrainedModel, rows: Dataset) -> None:
    """Set the output layer's bias to each token's log frequency, if it is still all zeros."""
    bias = getattr(generator.get_output_embeddings(), "bias", None)
    if bias is None or bool(bias.any()):
        return
    tokens = torch.from_numpy(np.concatenate(rows.with_format("numpy")["input_ids"][:]))
    counts = torch.bincount(tokens, minlength=len(bias)).float() + 0.5
    with torch.no_grad():
        bias.copy_((counts / counts.sum()).log())


def _rows(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, pairs: bool, count: int, max_length: int) -> Dataset:
    """Encoded sentences, at most `count`, evenly spaced over the corpus, with their ``length`` in tokens."""
    sentences = corpus.sentences
    at = np.linspace(0, len(sentences) - 1 - pairs, min(count, len(sentences) - pairs), dtype=np.int64)
    texts = (sentences[at]["text"], sentences[at + 1]["text"]) if pairs else (sentences[at]["text"],)
    encoded = encode_texts(tokenizer, texts, max_length)
    tell_cut("generator, warm-up", encoded.cut, len(texts[0]), max_length)
    columns = {name: encoded[name] for name in ("input_ids", "token_type_ids") if name in encoded}
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    return Dataset.from_dict(columns)
