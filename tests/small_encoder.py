"""A small sentence encoder, and a corpus in which each word has neighbours."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from conftest import tiny_bert, word_tokenizer

from zskd.models.loading import model_fingerprint
from zskd.models.sentence_encoder import SentenceEncoder
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.sources import find_sources

# Words of a line are near each other.
GROUPS = [
    line.split()
    for line in (
        "river stream brook torrent",
        "town village hamlet borough",
        "soldier warrior fighter trooper",
        "garden orchard meadow lawn",
        "doctor physician surgeon healer",
        "bridge viaduct crossing overpass",
        "music melody tune harmony",
        "winter frost blizzard snowfall",
        "merchant trader dealer vendor",
        "castle fortress citadel palace",
    )
]
FRAMES = ("the {} and the {} by a {} of the {}", "a {} with the {} in the {}", "some {} at the {} near a {} or the {}")


def encoder(seed: int = 0) -> SentenceEncoder:
    """A random BERT whose embeddings of the words of a group differ little."""
    tokenizer = word_tokenizer(
        [*(" ".join(group) for group in GROUPS), *(frame.format(*["x"] * 4) for frame in FRAMES)]
    )
    model = tiny_bert(len(tokenizer), ("a", "b"), hidden=64, seed=seed).bert.requires_grad_(False)
    for group in GROUPS:
        ids = tokenizer.convert_tokens_to_ids(group)
        centre, own = torch.randn(64), torch.randn(len(group), 64)
        model.embeddings.word_embeddings.weight.data[ids] = centre + 0.3 * own
    return SentenceEncoder("small", model_fingerprint(model), "fp32", lambda: (model, tokenizer))


def sentences(count: int, seed: int = 0) -> list[str]:
    """Different sentences of words of the groups."""
    rng = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        frame = rng.choice(FRAMES)
        words = [rng.choice(group) for group in rng.sample(GROUPS, frame.count("{}"))]
        made[frame.format(*words)] = None
    return list(made)


def corpus(folder: Path, count: int = 480) -> Corpus:
    """So many sentences, each a document."""
    path = folder / "corpus.txt"
    path.write_text("\n".join(sentences(count)) + "\n", encoding="utf-8")
    return build_corpus(find_sources([str(path)]), 1.0, folder / "cache")
