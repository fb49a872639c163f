"""The reading length in a saved tokenizer, whatever was asked of it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer
from datasets import Dataset
from faulty_lengths import few_positions_counted_from_padding
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.errors import InputError
from zskd.models.labels import LENGTH_FIELD
from zskd.models.lengths import check_rows, record_length, save_tokenizer, set_reading_length

LONG = " ".join(prose(60))


@pytest.mark.parametrize(("limit", "expected"), [(10**30, 128), (512, 128), (40, 40)])
def test_a_saved_tokenizer_cuts_where_its_model_stops(limit: int, expected: int, tmp_path: Path) -> None:
    tokenizer, model = word_tokenizer(prose(60)), tiny_bert(300, ("a", "b"))
    tokenizer.model_max_length = limit
    tokenizer([LONG, "short"], truncation=True, max_length=24, padding="max_length")  # is left on the backend
    save_tokenizer(tokenizer, model.config, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert saved["truncation"]["max_length"] == config["model_max_length"] == expected and saved["padding"] is None
    plain, loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), AutoTokenizer.from_pretrained(tmp_path)
    for text in (LONG, "the old river"):
        assert plain.encode(text).ids == loaded(text, truncation=True)["input_ids"]
    assert len(plain.encode(LONG).ids) == expected < len(loaded(LONG)["input_ids"])


def test_the_length_of_the_file_that_it_came_from_goes(tmp_path: Path) -> None:
    tokenizer, model = word_tokenizer(prose(60)), tiny_bert(300, ("a", "b"))
    tokenizer.backend_tokenizer.enable_truncation(20)
    tokenizer.save_pretrained(tmp_path / "before")
    (tmp_path / "before" / "tokenizer_config.json").write_text(
        json.dumps(
            json.loads((tmp_path / "before" / "tokenizer_config.json").read_text(encoding="utf-8")) | {"max_length": 20}
        ),
        encoding="utf-8",
    )
    save_tokenizer(AutoTokenizer.from_pretrained(tmp_path / "before"), model.config, tmp_path / "after")
    config = json.loads((tmp_path / "after" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config.get("max_length", 128) == config["model_max_length"] == 128


def test_a_tokenizer_that_cuts_on_the_left_still_does() -> None:
    tokenizer, model = word_tokenizer(prose(60)), tiny_bert(300, ("a", "b"))
    tokenizer.truncation_side = "left"
    set_reading_length(tokenizer, model.config)
    ids = tokenizer.backend_tokenizer.encode(LONG).ids
    assert len(ids) == 128 and ids[-20:] == tokenizer(LONG)["input_ids"][-20:]


def test_positions_that_are_counted_from_the_padding_are_respected(tmp_path: Path) -> None:
    few_positions_counted_from_padding(tmp_path)
    model, tokenizer = (
        loader.from_pretrained(tmp_path) for loader in (AutoModelForSequenceClassification, AutoTokenizer)
    )
    set_reading_length(tokenizer, model.config)
    batch = tokenizer([LONG], truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape[1] == tokenizer.model_max_length == 16
    with torch.inference_mode():
        assert model(**batch).logits.isfinite().all()


def test_the_length_of_a_training_is_recorded(tmp_path: Path) -> None:
    model = tiny_bert(60, ("a", "b"))
    record_length(model.config, 24)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))[LENGTH_FIELD] == 24


@pytest.mark.parametrize("more", [{}, {"length": [129, 3]}], ids=["ids", "length"])
def test_rows_that_a_model_has_no_positions_for_are_refused(more: dict[str, list[int]]) -> None:
    model = tiny_bert(60, ("a", "b"))
    rows = Dataset.from_dict({"input_ids": [[5] * 129, [5] * 3], **more})
    with pytest.raises(InputError, match=r"train_dataset: expected rows of at most the 128 positions .* one of 129"):
        check_rows(rows, model, "train_dataset")
    check_rows(rows.select([1]), model, "train_dataset")
    check_rows(rows, torch.nn.Linear(1, 1), "train_dataset")


@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_a_saved_tokenizer_lists_what_its_model_was_trained_with(names: list[str], tmp_path: Path) -> None:
    tokenizer, model = word_tokenizer(prose(60)), tiny_bert(300, ("a", "b"))
    tokenizer.model_input_names = names
    save_tokenizer(tokenizer, model.config, tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))["model_input_names"] == names
    assert list(AutoTokenizer.from_pretrained(tmp_path)("a", "b")) == names
