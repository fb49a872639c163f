"""The plain rivals: features of one and two texts, and a regression that learns what there is to learn."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from conftest import prose, save_model, tiny_bert, word_tokenizer

from recipes.rivals import bag_features, centred, fitted, shares, tfidf_features


def test_shares_of_words_in_common() -> None:
    found = shares((["a fine film", "one"], ["a Film that is fine and long", "two"]))
    np.testing.assert_allclose(found, [[1.0, 3 / 7, 3 / 7], [0.0, 0.0, 0.0]])


def test_rivals_learn_a_word_and_whether_texts_are_the_same(tmp_path: Path) -> None:
    lines = prose(400)
    tokenizer = word_tokenizer([*lines, "good bad"])
    start = save_model(tmp_path, tiny_bert(len(tokenizer), ("a", "b")), tokenizer)
    good = np.arange(400) % 2
    ones = [f"{line} {'good' if kind else 'bad'}" for line, kind in zip(lines, good, strict=True)]
    others = [line if kind else lines[i - 7] for i, (line, kind) in enumerate(zip(lines, good, strict=True))]
    logits = centred(np.stack([1.0 - good, good], axis=1))
    for texts, bag in itertools.product(((ones,), (lines, others)), (True, False)):
        train, rest = (tuple(column[part] for column in texts) for part in (slice(300), slice(300, None)))
        features = bag_features(start, tokenizer, 32) if bag else tfidf_features(train)
        model, penalty = fitted(features, train, logits[:300], rest, logits[300:])
        assert (model.predict(features(rest)).argmax(axis=1) == good[300:]).mean() > 0.9
        assert penalty > 0
