"""Directions of texts and words, and an encoder that loads nothing before it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_encoder import encoder, sentences

from zskd.errors import InputError
from zskd.models.backbones import EMBEDDED, backbone_folder
from zskd.models.sentence_encoder import centred_directions, embedded_encoder


def test_texts_are_directions_of_their_mean_states_whatever_stands_beside_them() -> None:
    small = encoder()
    texts = [*sentences(20), "a river", "town"]
    found = small.texts(texts, "texts")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    model, tokenizer = small.load()
    mean = model(**tokenizer(texts[3], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    np.testing.assert_allclose(found[3], torch.nn.functional.normalize(mean, dim=0).numpy(), atol=1e-5)
    np.testing.assert_allclose(small.texts(texts[3:4], "text"), found[3:4], atol=1e-5)


def test_words_are_single_tokens_and_the_others_are_left_out() -> None:
    small = encoder()
    words, states = small.words(["river", "riverside", "the river", "town"], "words")
    assert words == ["river", "town"] and states.shape == (2, 64)
    model, tokenizer = small.load()
    alone = model(**tokenizer("town", return_tensors="pt")).last_hidden_state[0, 1]
    np.testing.assert_allclose(states[1], alone.numpy(), atol=1e-5)


def test_centred_directions_have_length_one_and_do_not_change_with_what_is_common_to_all() -> None:
    states = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    found = centred_directions(states)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(centred_directions(states + 7.0), found, atol=1e-5)


def test_states_that_are_no_numbers_are_an_error_with_the_name() -> None:
    small = encoder()
    model, _ = small.load()
    model.embeddings.word_embeddings.weight.data[:] = float("nan")
    with pytest.raises(InputError, match="expected finite answers of small"):
        small.texts(["the river"], "texts")


def test_the_embedded_one_is_known_by_its_files_and_loaded_when_it_is_asked(tmp_path: Path) -> None:
    found = embedded_encoder(tmp_path, "fp32")
    assert (found.name, found.precision, len(found.fingerprint)) == (EMBEDDED.name, "fp32", 64)
    assert not backbone_folder(EMBEDDED, tmp_path).exists()
    assert replace(found, load=encoder().load).texts(["the river"], "texts").shape == (1, 64)
