"""A `tokenizer.json` says how a text becomes ids, whatever the class that a folder names makes of it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from families import FAMILIES, write_folder
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from zskd.errors import InputError
from zskd.models.loading import Origin
from zskd.models.tokenizer_file import find_file
from zskd.models.tokenizers import guards, load_tokenizer
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import load_classifier

WORDS = ("the old River", "Café 1987, well-known", "привет", "near [E1] the coast [/E1].")


def template(backend: Tokenizer, single: str, pair: str) -> None:
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    )


def cased(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)


def split_digits(backend: Tokenizer) -> None:
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(True)])


def no_separator(backend: Tokenizer) -> None:
    template(backend, "[CLS] $A", "[CLS] $A [SEP] $B:1")


def one_segment(backend: Tokenizer) -> None:
    template(backend, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")


def entities(backend: Tokenizer) -> None:
    backend.add_tokens([AddedToken("[E1]", normalized=False, lstrip=True), AddedToken("[/E1]", normalized=False)])


def marks_stripped(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.BertNormalizer(strip_accents=False)


FAULTS: dict[str, tuple[Callable[[Tokenizer], None], str]] = {
    "capitals": (cased, "normaliser"),
    "accents": (marks_stripped, "normaliser"),
    "words": (split_digits, "pre-tokenizer"),
    "template": (no_separator, "post-processor"),
    "segments": (one_segment, "post-processor: segments"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_file_is_used_where_the_class_builds_it_otherwise(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change, part = FAULTS[fault]
    folder = write_folder(tmp_path / "teacher", "bert", change=change)
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    given = [(text,) for text in WORDS] + [(text, WORDS[0]) for text in WORDS]

    def right(tokenizer: object) -> bool:
        found = [tokenizer(*texts) for texts in given]  # type: ignore[operator]
        wanted = [file.encode(*texts) for texts in given]
        return [(row["input_ids"], row["token_type_ids"]) for row in found] == [(w.ids, w.type_ids) for w in wanted]

    assert not right(AutoTokenizer.from_pretrained(folder)), "transformers alone is right, so nothing is tested"
    with caplog.at_level(logging.WARNING):
        tokenizer = load_tokenizer(Origin(str(folder)), flag="--teacher")
    assert right(tokenizer) and guards(tokenizer) == ("file",)
    (warning,) = caplog.messages
    assert warning.startswith(f"--teacher {folder}: transformers ") and "BertTokenizer" in warning
    assert f"({part}" in warning and warning.endswith("the file is used")
    assert tokenizer.pad_token == "[PAD]" and tokenizer.mask_token == "[MASK]" and tokenizer.model_max_length == 128
    # What is saved is read in the same way by transformers alone, and needs no warning here.
    tokenizer.save_pretrained(tmp_path / "saved")
    shutil.copy(folder / "config.json", tmp_path / "saved")
    caplog.clear()
    assert right(AutoTokenizer.from_pretrained(tmp_path / "saved"))
    again = load_tokenizer(Origin(str(tmp_path / "saved")), flag="--teacher")
    assert right(again) and guards(again) == () and not caplog.messages


def test_tokens_that_only_the_class_names_stay_out(tmp_path: Path) -> None:
    """Qwen2's class names an end token; a model with a tokenizer of its own has no row for it."""
    folder = write_folder(tmp_path / "teacher", "bert", tokenizer_config={"tokenizer_class": "Qwen2Tokenizer"})
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(Origin(str(folder)), flag="--teacher")
    assert guards(tokenizer) == ("file",) and tokenizer.get_vocab() == file.get_vocab()
    assert tokenizer(WORDS[0])["input_ids"] == file.encode(WORDS[0]).ids and tokenizer.pad_token == "[PAD]"


def test_words_that_were_added_are_compared(tmp_path: Path) -> None:
    """Those of the file, where the class finds others of that name in the folder."""
    tokens = {"0": {"content": "[PAD]", "special": True, "lstrip": False, "rstrip": False, "normalized": False,
                    "single_word": False}}  # fmt: skip
    folder = write_folder(
        tmp_path / "teacher", "bert", change=entities, tokenizer_config={"added_tokens_decoder": tokens}
    )
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(Origin(str(folder)), flag="--teacher")
    for text in WORDS:
        assert tokenizer(text)["input_ids"] == file.encode(text).ids
    assert file.token_to_id("[E1]") in tokenizer(WORDS[-1])["input_ids"]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "rembert"])
def test_healthy_folders_pass_without_a_word(family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RemBERT's class takes [CLS] for unknown pieces, so that none of its folders is healthy."""
    folder = write_folder(tmp_path / "teacher", family)
    tokenizer = load_tokenizer(Origin(str(folder)), flag="--teacher")
    assert "file" not in guards(tokenizer) and not caplog.messages
    assert type(tokenizer) is type(AutoTokenizer.from_pretrained(folder))
    # What transformers 5 saves is its own.
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert "file" not in guards(load_tokenizer(Origin(str(folder)), flag="--teacher")) and not caplog.messages


def test_padding_and_truncation_of_the_file_are_no_difference(tmp_path: Path) -> None:
    def limited(backend: Tokenizer) -> None:
        backend.enable_truncation(4)
        backend.enable_padding(length=6)

    tokenizer = load_tokenizer(Origin(str(write_folder(tmp_path / "t", "bert", change=limited))), flag="--teacher")
    assert guards(tokenizer) == () and len(tokenizer("one of them and one of them")["input_ids"]) > 6


def test_a_file_makes_a_key_of_its_own(tmp_path: Path) -> None:
    names = {"config": {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}}
    keys = []
    for name, change in {"healthy": None, "faulty": cased}.items():
        folder = write_folder(tmp_path / name, "bert", change=change)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | names["config"]))
        keys.append(load_classifier(TASKS["sst2"], str(folder), tmp_path).cache_key("fp32", 32))
    healthy, faulty = keys
    assert len(healthy) == 5 and faulty[5:] == [{"guards": ["file"]}] and healthy[0] == faulty[0]


def test_a_folder_without_the_file_has_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", "bert")
    assert find_file(str(folder), {}) == str(folder / "tokenizer.json")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    assert find_file(str(folder), {}) is None
    assert len(load_tokenizer(Origin(str(folder)), flag="--teacher")) == len(vocabulary)


def test_a_class_that_loses_its_template_is_refused(tmp_path: Path) -> None:
    """RemBERT's, where there is no file: neither [CLS] nor [SEP] stand around a text."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from recipes.tiny import prose

    folder = write_folder(tmp_path / "teacher", "rembert")
    (folder / "tokenizer.json").unlink()
    with (folder / "sentencepiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(prose(600)), model_writer=file, vocab_size=150, hard_vocab_limit=False,
            minloglevel=2, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        )  # fmt: skip
    with pytest.raises(InputError, match=r"--teacher .*expected \[CLS\] and \[SEP\] around a text, found neither"):
        load_tokenizer(Origin(str(folder)), flag="--teacher")
