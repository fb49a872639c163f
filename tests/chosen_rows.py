"""Logits with a given class balance, and the transfer set that is chosen by them."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.methods.class_balance import ClassBalance
from zskd.transfer.transfer_set import TransferSet

NAMES = ("zero", "one", "two")


def logits_of(counts: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Shuffled logits whose largest class is i in `counts[i]` rows."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    logits = rng.normal(size=(len(classes), len(counts))).astype(np.float32)
    logits[np.arange(len(classes)), classes] = logits.max(axis=1) + rng.exponential(1.0, len(classes)) + 1e-3
    return logits


def choose(logits: np.ndarray, confidence: float = 0.0, share: float = 1.0, seed: int = 0) -> TransferSet:
    """What stays of inputs with these logits, by confidence and then by class balance."""
    inputs = Dataset.from_dict({"text": [str(i) for i in range(len(logits))]})
    rows = TransferSet.of(inputs, logits, NAMES[: logits.shape[1]], seed).confident(confidence)
    return ClassBalance(ClassBalanceOptions(max_class_share=share)).transfer_set(rows)
