"""A sentence encoder: a base model whose last hidden states, averaged over a text's tokens, say what it means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.backbones import EMBEDDED, fetch_backbone
from zskd.models.bulk import Meter, mean_states
from zskd.models.encoding import encode_texts
from zskd.models.fast_layers import fast_copy
from zskd.models.frozen import with_half_weights
from zskd.models.loading import Origin
from zskd.models.tokenizers import load_tokenizer
from zskd.models.weights import load_checked
from zskd.system.precision import HALVES, check_finite, pick_precision
from zskd.system.progress import bar

TOKENS = 128  # of a text that are read
SPECIAL = "special_tokens_mask"


@dataclass(frozen=True)
class SentenceEncoder:
    """A frozen base model and its tokenizer, which are loaded when they are first needed.

    Attributes:
        name: for messages.
        fingerprint: of weights and tokenizer, for keys of caches.
        precision: in which it computes, ``fp32`` or one of `zskd.system.precision.HALVES`.
        load: gives model and tokenizer.
    """

    name: str
    fingerprint: str
    precision: str
    load: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]

    @cached_property
    def _parts(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return self.load()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return self._parts[1]

    def texts(self, texts: Sequence[str], what: str) -> np.ndarray:
        """Directions ``(texts, hidden)`` float32 of length 1: the mean of the states of all tokens, special ones too.

        Args:
            what: the progress bar's text.

        Raises:
            InputError: some values are NaN or infinite.
        """
        model, tokenizer = self._parts
        encoded = encode_texts(tokenizer, (list(texts),), TOKENS)
        with bar(what, len(texts), "text") as progress:
            states = mean_states(model, tokenizer, encoded, self.precision, Meter(progress))
        return _unit(self._checked(states))

    def words(self, words: Sequence[str], what: str) -> tuple[list[str], np.ndarray]:
        """Those of the words that are one token, and the state ``(words, hidden)`` float32 of each, read alone."""
        model, tokenizer = self._parts
        encoded = tokenizer(list(words), return_special_tokens_mask=True)
        one = [i for i, special in enumerate(encoded[SPECIAL]) if special.count(0) == 1]
        for name in encoded:
            encoded[name] = [encoded[name][i] for i in one]
        with bar(what, len(one), "word") as progress:
            states = mean_states(model, tokenizer, encoded, self.precision, Meter(progress))
        return [words[i] for i in one], self._checked(states)

    def _checked(self, states: np.ndarray) -> np.ndarray:
        check_finite(states, self.name, self.precision)
        return states


def _unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled


def centred_directions(states: np.ndarray) -> np.ndarray:
    """Directions ``(rows, hidden)`` of length 1 of states from which their mean is taken.

    Example:
        >>> import numpy as np
        >>> centred_directions(np.array([[3.0, 1.0], [5.0, 1.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    return _unit(states - states.mean(axis=0))


def embedded_encoder(cache: Path, precision: str = "auto") -> SentenceEncoder:
    """The embedded backbone as an encoder. Nothing is fetched or loaded before it is needed.

    Args:
        precision: as the option says, ``auto`` included.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    chosen = pick_precision(precision, device)

    def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        origin = Origin(str(fetch_backbone(EMBEDDED, cache)))
        model, _ = load_checked(AutoModel, origin.name, flag="backbone")
        model = model.requires_grad_(False).eval().to(device)
        return fast_copy(with_half_weights(model, HALVES[chosen]) if chosen in HALVES else model), load_tokenizer(
            origin, flag="backbone"
        )

    files = hashlib.sha256(repr(sorted(EMBEDDED.files.items())).encode()).hexdigest()
    return SentenceEncoder(EMBEDDED.name, files, chosen, load)
