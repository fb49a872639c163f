"""Generators: the logits of the whole model on five architectures, built from a teacher or loaded from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from architectures import SHAPES, batch, classifier, every_model
from conftest import save_model, word_tokenizer
from labelled_rows import prose
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from zskd.errors import InputError
from zskd.methods.adversarial.generator import build_generator, load_generator, masked_logits, usable_tokens
from zskd.teacher.classifier import Classifier


def masked_model(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=60, max_position_embeddings=40, pad_token_id=1, **SHAPES[kind])
    return AutoModelForMaskedLM.from_config(config).eval()


@every_model
def test_logits_of_some_positions_are_those_of_the_whole_model(kind: str) -> None:
    model, inputs = masked_model(kind), batch(kind, [7, 4, 9])
    rows, columns = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 5, 2, 8])
    with torch.no_grad():
        whole = model(**inputs).logits[rows, columns]
        found = masked_logits(model, inputs, rows, columns)
    assert found.shape == (4, 60) and found.dtype == torch.float32
    torch.testing.assert_close(found, whole)


@every_model
def test_a_generator_is_the_teachers_embeddings_and_first_layer(kind: str) -> None:
    tokenizer = word_tokenizer(["one two three"])
    teacher = Classifier("teacher", classifier(kind), tokenizer, (0, 1, 2), 1, "", "")
    made = build_generator(teacher, layers=1)
    ours, theirs = made.base_model.state_dict(), teacher.model.base_model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(ours) < len(theirs) or kind == "albert"  # which shares one layer
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight or kind == "electra"


def test_a_generator_is_loaded_from_a_folder(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(50))
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), max_position_embeddings=40, **SHAPES["bert"])
    model = AutoModelForMaskedLM.from_config(config)
    loaded, its_tokenizer = load_generator(str(save_model(tmp_path / "generator", model, tokenizer)))
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert usable_tokens(tokenizer, len(tokenizer)).sum() == len(tokenizer) - 5


def test_a_classifier_or_a_model_without_a_mask_is_no_generator(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(50))
    save_model(tmp_path / "classifier", classifier("bert"), tokenizer)
    with pytest.raises(
        InputError, match=r"expected a masked language model .* with all its weights, found no cls\.predictions"
    ):
        load_generator(str(tmp_path / "classifier"))
    tokenizer.mask_token = None
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), max_position_embeddings=40, **SHAPES["bert"])
    save_model(tmp_path / "unmasked", AutoModelForMaskedLM.from_config(config), tokenizer)
    with pytest.raises(InputError, match="a tokenizer with a mask token"):
        load_generator(str(tmp_path / "unmasked"))
    with pytest.raises(InputError, match="--generator"):
        load_generator(str(tmp_path / "nowhere"))
