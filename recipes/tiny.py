"""Text, teachers and a student that are made in seconds, of transformers and tokenizers alone.

The tests use them too. Nothing here imports zskd, so that runs of any two of its versions can start from the same
files.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

_ADJECTIVES = ("old", "northern", "small", "narrow", "famous", "stone", "wooden", "modern", "quiet", "eastern", "royal")
_SUBJECTS = ("river", "mountain", "village", "engine", "painter", "library", "harbour", "bridge", "museum", "railway")
_VERBS = ("crosses", "follows", "serves", "reaches", "borders", "supports", "joins", "replaces", "divides", "overlooks")
_PLACES = ("valley", "coast", "station", "market", "forest", "castle", "church", "province", "county", "school")
_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}

LEARNING_RATE, STEPS = 6e-3, 40  # with which a teacher passes its gate by far
LONGEST = 64  # tokens that a teacher is fitted on


def prose(lines: int, seed: int = 0) -> list[str]:
    """Distinct sentences about places, the same for a seed."""
    rng = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < lines:
        a, b, c = rng.sample(_ADJECTIVES, 3)
        made[
            f"The {a} {rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} the {b} {rng.choice(_PLACES)} "
            f"near the {c} {rng.choice(_PLACES)} in {rng.randint(1200, 1999)}."
        ] = None
    return list(made)


def about(sentence: str) -> int:
    """0 or 1 by what a sentence of `prose` is about."""
    return int(_SUBJECTS.index(sentence.split()[2]) >= len(_SUBJECTS) // 2)


def word_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that knows every word of `texts`, and letters for the others."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    entries = dict.fromkeys([*_SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters), *sorted(words)])
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **_SPECIAL)


def random_bert(vocabulary: int, labels: tuple[str, ...], hidden: int, seed: int) -> BertForSequenceClassification:
    """A random BERT classifier of two layers, with BERT's dropout."""
    torch.manual_seed(seed)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * hidden,
            max_position_embeddings=128,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
        )
    )


def make_teacher(
    folder: Path, probe: Path, columns: tuple[str, ...], label_column: str, labels: tuple[str, str]
) -> None:
    """A BERT classifier fitted to a probe of two classes and to prose, so that it uses both classes on prose too.

    Args:
        folder: where model and tokenizer are saved.
        probe: tab-separated rows with a header; labels are 0 and 1.
        columns: of the one or two input texts.
        labels: names of the classes 0 and 1.
    """
    with probe.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    shaped = [prose(len(rows) // 2, seed=10 + side) for side in range(len(columns))]
    texts = [[row[name] for row in rows] + more for name, more in zip(columns, shaped, strict=True)]
    truth = torch.tensor([int(row[label_column]) for row in rows] + [about(sentence) for sentence in shaped[-1]])
    tokenizer = word_tokenizer([*(text for column in texts for text in column), *prose(600)])
    model = random_bert(len(tokenizer), labels, hidden=32, seed=32)
    batch = tokenizer(*texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, truth).backward()
        optimizer.step()
    save(folder, model, tokenizer)


def make_student(folder: Path, teacher: Path, labels: tuple[str, str]) -> None:
    """A smaller random BERT with a teacher's vocabulary and, unlike a built student, with dropout."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(teacher)
    save(folder, random_bert(len(tokenizer), labels, hidden=16, seed=16), tokenizer)


def save(folder: Path, model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast) -> None:
    """A model folder."""
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
