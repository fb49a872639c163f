"""Teacher and student with tokenizers of different kinds: text passes between them, and only text."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from conftest import prose, word_tokenizer
from datasets import Dataset
from families import FAMILIES, columns, plain_logits, write_folder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AlbertTokenizer,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaTokenizer,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import import_utils

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.models.loading import Origin
from zskd.models.segments import with_segments
from zskd.models.tokenizers import guards, load_tokenizer, tokenizer_fingerprint
from zskd.pipeline import distill
from zskd.runs.folder import run_path
from zskd.student.initial import load_student
from zskd.student.word_features import token_reactions
from zskd.tasks.task import find_task
from zskd.teacher.classifier import Classifier, classifier_from, load_classifier, load_plain
from zskd.teacher.labelling import label_texts
from zskd.teacher.load import load_teacher
from zskd.transfer.rows import encode

LENGTH = 24
LABELS = ("no", "yes")
WORDS = list(dict.fromkeys(word for text in prose(600) for word in text.lower().rstrip(".").split() if word.isalpha()))

SENTENCE_PIECE: dict[str, type[PreTrainedTokenizerBase]] = {
    "albert": AlbertTokenizer,
    "deberta": DebertaV2Tokenizer,
    "xlmr": XLMRobertaTokenizer,
}
KINDS = (*SENTENCE_PIECE, "bert")


def classifier(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A random classifier of two layers whose logits differ from text to text."""
    names = dict(enumerate(LABELS))
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "initializer_range": 0.3,
        "max_position_embeddings": 130,
        "id2label": names,
        "label2id": {name: i for i, name in names.items()},
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    model: PreTrainedModel
    if kind == "albert":
        model = AlbertForSequenceClassification(AlbertConfig(**shape, embedding_size=32))
    elif kind == "deberta":  # as version 3 is
        model = DebertaV2ForSequenceClassification(
            DebertaV2Config(
                **shape, type_vocab_size=0, relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm",
                share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
            )
        )  # fmt: skip
    elif kind == "xlmr":
        model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**shape, type_vocab_size=1))
    else:
        model = BertForSequenceClassification(BertConfig(**shape))
    return model.eval()


def as_transformers_4(folder: Path) -> None:
    """Make a folder say that it was written when ALBERT's tokenizer still told two texts apart."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_version": "4.57.0"}))


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> folder that holds a configuration and a `.model` file, as the first checkpoints of a family did."""
    options: dict[str, tuple[str, dict[str, Any]]] = {
        "albert": ("spiece", {"pad_id": 0, "unk_id": 1, "bos_id": -1, "control_symbols": ["[CLS]", "[SEP]", "[MASK]"]}),
        "deberta": ("spm", {"pad_id": 0, "bos_id": 1, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]",
                            "eos_piece": "[SEP]", "unk_piece": "[UNK]"}),
        "xlmr": ("sentencepiece.bpe", {}),
    }  # fmt: skip
    made = {}
    for kind, (name, extra) in options.items():
        folder = made[kind] = tmp_path_factory.mktemp(f"{kind}-model")
        texts = [text.lower() if kind == "albert" else text for text in prose(600)]
        with (folder / f"{name}.model").open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=file, vocab_size=200, hard_vocab_limit=False,
                minloglevel=2, eos_id=-1 if kind == "albert" else 2, **extra,
            )  # fmt: skip
        config = {"albert": AlbertConfig, "deberta": DebertaV2Config, "xlmr": XLMRobertaConfig}[kind]
        config().save_pretrained(folder)
        assert len(list(folder.iterdir())) == 2
    return made


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, model_files: dict[str, Path]) -> dict[str, Path]:
    """Kind -> classifier with a `tokenizer.json`; no tokenizer has a limit of its own."""
    made = {}
    for kind in KINDS:
        folder = made[kind] = tmp_path_factory.mktemp(kind)
        tokenizer = load(model_files[kind]) if kind in model_files else word_tokenizer(prose(600))
        tokenizer.model_max_length = 10**30
        tokenizer.save_pretrained(folder)
        classifier(kind, tokenizer).save_pretrained(folder)
    as_transformers_4(made["albert"])
    return made


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Number of texts -> file of a task of one's own, without a probe."""
    folder = tmp_path_factory.mktemp("tasks")
    made = {}
    for texts, named in {1: "[text]", 2: "[text, other]"}.items():
        path = made[texts] = folder / f"texts{texts}.yaml"
        path.write_text(f'text_columns: {named}\nlabel_column: label\nlabels: ["no", "yes"]\n')
    return made


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Make a package look as if it were not installed."""
    remembered = (import_utils.is_sentencepiece_available, import_utils.is_protobuf_available)

    def forget() -> None:
        for function in remembered:
            function.cache_clear()

    def block(package: str) -> None:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        forget()

    yield block
    monkeypatch.undo()
    forget()
    assert all(function() for function in remembered)


def load(folder: Path, flag: str = "--teacher") -> PreTrainedTokenizerBase:
    return load_tokenizer(Origin(str(folder)), flag=flag)


def refused(folder: Path, *parts: str, flag: str = "--teacher") -> None:
    with pytest.raises(InputError) as caught:
        load(folder, flag)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{flag} {folder}: ") and "\n" not in problem
    for part in parts:
        assert part in problem


def assert_knows_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Different words have different ids, and none of them is unknown."""
    ids = {word: tuple(tokenizer(word, add_special_tokens=False)["input_ids"]) for word in WORDS}
    assert len(set(ids.values())) == len(WORDS)
    assert len({index for row in ids.values() for index in row}) > 20
    for text in prose(100):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id is not None


def inputs(tokenizer: PreTrainedTokenizerBase, texts: tuple[list[str], ...], **options: Any) -> dict[str, list]:
    return dict(tokenizer(*texts, truncation=True, max_length=LENGTH, **options))


# --- each tokenizer by itself ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_file_gives_the_ids_it_was_saved_with(
    kind: str, folders: dict[str, Path], without: Callable[[str], None]
) -> None:
    without("sentencepiece")
    without("google.protobuf")
    tokenizer = load(folders[kind])
    made = word_tokenizer(prose(600)) if kind == "bert" else SENTENCE_PIECE[kind].from_pretrained(folders[kind])
    assert_knows_words(tokenizer)
    for text in prose(50, seed=3):
        assert tokenizer(text)["input_ids"] == made(text)["input_ids"]
    assert tokenizer.model_max_length > 10**6


@pytest.mark.parametrize("kind", SENTENCE_PIECE)
def test_a_model_file_alone_gives_the_pieces_of_sentencepiece(
    kind: str, model_files: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = load(model_files[kind])
    assert type(tokenizer) is SENTENCE_PIECE[kind]
    assert_knows_words(tokenizer)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(next(model_files[kind].glob("*.model"))))
    moved = 1 if kind == "xlmr" else 0  # XLM-R's ids are those of fairseq
    for text in prose(100, seed=3):
        shown = text.lower() if kind == "albert" else text
        assert tokenizer.tokenize(text) == processor.encode(shown, out_type=str)
        assert tokenizer(text)["input_ids"][1:-1] == [index + moved for index in processor.encode(shown)]
    # What a run writes needs the `.model` file no more.
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file() and not list(tmp_path.glob("*.model"))
    assert all(saved(text)["input_ids"] == tokenizer(text)["input_ids"] for text in prose(50, seed=4))


@pytest.mark.parametrize("package", ["sentencepiece", "google.protobuf"])
@pytest.mark.parametrize("kind", SENTENCE_PIECE)
def test_a_missing_package_is_named(
    kind: str, package: str, model_files: dict[str, Path], without: Callable[[str], None]
) -> None:
    without(package)
    for flag in ("--teacher", "--student"):
        refused(model_files[kind], "sentencepiece", "protobuf", "pip install --upgrade zskd", flag=flag)


@pytest.mark.parametrize("kind", SENTENCE_PIECE)
@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, b"the old river\n", None], ids=["empty", "junk", "text", "cut"]
)
def test_a_damaged_model_file_is_refused(
    content: bytes | None, kind: str, model_files: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_files[kind], tmp_path / "spoilt"))
    path = next(folder.glob("*.model"))
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    refused(folder, *([".model", "damaged"] if content != b"" else []))


def test_a_tokenizer_that_does_not_list_ids_is_refused(teacher_folder: Path, tmp_path: Path) -> None:
    """It pads nothing then, and fails at the first batch."""
    folder = Path(shutil.copytree(teacher_folder, tmp_path / "spoilt"))
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) | {"model_input_names": ["attention_mask"]}
    file.write_text(json.dumps(settings), encoding="utf-8")
    refused(folder, "expected input_ids among model_input_names in tokenizer_config.json, found ['attention_mask']")


@pytest.mark.parametrize("flag", ["--teacher", "--student"])
@pytest.mark.parametrize("kind", SENTENCE_PIECE)
def test_a_folder_without_vocabulary_is_refused(kind: str, flag: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[kind], tmp_path / "bare"))
    (folder / "tokenizer.json").unlink()
    # transformers builds such a tokenizer of special tokens without a word.
    left = len(AutoTokenizer.from_pretrained(folder))
    assert left < 8
    refused(folder, f"knows {left} tokens", "vocabulary is missing", flag=flag)


@pytest.mark.parametrize("kind", SENTENCE_PIECE)
@pytest.mark.parametrize("content", ["[]", '{"model": {}}', None], ids=["list", "no model", "other family"])
def test_a_tokenizer_file_of_another_kind_is_refused(
    content: str | None, kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders[kind], tmp_path / "spoilt"))
    words = (folders["bert"] / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(words if content is None else content)
    refused(folder, "tokenizer")


@pytest.mark.parametrize("words", [["Ähre", "Öfen", "über"], ["νερό", "ποτάμι", "πλοίο"], ["河", "水", "高"]])
def test_a_tokenizer_of_another_language_loads(words: list[str], tmp_path: Path) -> None:
    """It answers [UNK] to every English word."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*special, *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path)
    BertConfig(vocab_size=8).save_pretrained(tmp_path)
    loaded = load_tokenizer(Origin(str(tmp_path)), flag="--teacher")
    assert loaded(words[0], add_special_tokens=False)["input_ids"] == [5]


@pytest.mark.parametrize("flag", ["--teacher", "--student"])
def test_a_tokenizer_that_answers_unknown_is_refused(flag: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "foreign"))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ids = {token: i for i, token in enumerate([*special, *(f"zq{i}" for i in range(100))])}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    refused(folder, "answers [UNK] to ordinary words", flag=flag)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_another_model_is_refused(
    kind: str, folders: dict[str, Path], tasks: dict[int, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders[kind], tmp_path / "mixed"))
    tokenizer = load(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["zqxj"])
    tokenizer.save_pretrained(folder)
    message = f"{folder}: its tokenizer gives ids up to {rows}, its embedding table has {rows} rows"
    with pytest.raises(InputError, match=f"--teacher {message}"):
        load_classifier(find_task(str(tasks[1])), str(folder), tmp_path)
    with pytest.raises(InputError, match=f"--student {message}"):
        load_student(find_task(str(tasks[1])), str(folder), None)


# --- two texts told apart ---


def test_albert_tells_two_texts_apart_as_it_was_trained_to(folders: dict[str, Path], tmp_path: Path) -> None:
    pair = (["the old river"], ["near the coast"])
    tokenizer = load(folders["albert"])
    encoded = inputs(tokenizer, pair)
    second = encoded["input_ids"][0].index(tokenizer.sep_token_id) + 1
    assert encoded["token_type_ids"] == [[0] * second + [1] * (len(encoded["input_ids"][0]) - second)]
    # Saved beside a model that is no ALBERT, as a built student is, and read by transformers alone.
    tokenizer.save_pretrained(tmp_path)
    shutil.copy(folders["bert"] / "config.json", tmp_path)
    assert inputs(AutoTokenizer.from_pretrained(tmp_path), pair) == inputs(load(tmp_path), pair) == encoded


def test_albert_keeps_what_its_folder_says(folders: dict[str, Path], tmp_path: Path) -> None:
    def has_segments(**config: Any) -> bool:
        path = tmp_path / "albert" / "config.json"
        path.write_text(json.dumps(json.loads((folders["albert"] / "config.json").read_text()) | config))
        return "token_type_ids" in load(tmp_path / "albert")("the old", "river")

    folder = Path(shutil.copytree(folders["albert"], tmp_path / "albert"))
    assert has_segments() and has_segments(transformers_version=None)
    assert not has_segments(transformers_version="5.23.0")  # trained without them
    assert not has_segments(type_vocab_size=1)  # a second segment has no row
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": ["input_ids", "attention_mask"]}))
    assert not has_segments()


@pytest.mark.parametrize("kind", ["deberta", "xlmr", "bert"])
def test_other_families_are_read_as_transformers_reads_them(kind: str, folders: dict[str, Path]) -> None:
    pair = (["the old river"], ["near the coast"])
    assert inputs(load(folders[kind]), pair) == inputs(AutoTokenizer.from_pretrained(folders[kind]), pair)


@pytest.mark.parametrize("kind", KINDS)
def test_a_built_student_starts_from_single_tokens_between_special_ones(
    kind: str, folders: dict[str, Path], tasks: dict[int, Path], tmp_path: Path
) -> None:
    asked = load_classifier(find_task(str(tasks[1])), str(folders[kind]), tmp_path)
    tokenizer = asked.tokenizer
    _, logits = token_reactions(asked)
    assert len(logits) == len(tokenizer)
    # "a" is two pieces here ("▁" and "a"); both have to make room for the token.
    assert kind == "bert" or len(tokenizer("a", add_special_tokens=False)["input_ids"]) == 2
    # Which words are one piece depends on the sentencepiece that trained the vocabulary: with 0.2.1 only short ones.
    pieces = [tokenizer(word[:n], add_special_tokens=False)["input_ids"] for word in WORDS for n in (len(word), 2, 1)]
    single = list(dict.fromkeys(piece[0] for piece in pieces if len(piece) == 1 and piece[0] != tokenizer.unk_token_id))
    assert len(single) >= 3
    for index in single[:3]:
        alone = torch.tensor([[tokenizer.cls_token_id, index, tokenizer.sep_token_id]])
        with torch.inference_mode():
            torch.testing.assert_close(logits[index], asked.model(alone).logits[0], atol=1e-4, rtol=1e-4)


# --- the whole walk ---


@pytest.fixture
def walk(
    tasks: dict[int, Path], folders: dict[str, Path], corpus_file: Path, shared_cache: Path, tmp_path: Path
) -> Callable[..., DistillConfig]:
    """The configuration of a small run; `texts` is the number of input texts."""

    def configure(texts: int, teacher: str, student: str) -> DistillConfig:
        return DistillConfig(
            task=str(tasks[texts]),
            teacher=str(folders[teacher]),
            student=str(folders.get(student, student)),
            compression=2.0,
            corpus=[str(corpus_file)],
            pool_size=96,
            heldout=64,
            max_length=LENGTH,
            max_class_share=1.0,  # the teacher is random
            epochs=1.0,
            batch_size=32,
            checkpoints=1,
            precision="fp32",
            cache_dir=str(shared_cache),
            output_dir=str(tmp_path / "run"),
        )

    return configure


def logits_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: tuple[list[str], ...]) -> np.ndarray:
    with torch.inference_mode():
        batch = tokenizer(*texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        return model(**batch).logits.numpy()


PAIRS = [
    *((teacher, student) for teacher in SENTENCE_PIECE for student in ("build", "bert")),
    *(("bert", student) for student in SENTENCE_PIECE),
]


@pytest.mark.parametrize("texts", [1, 2], ids=["one text", "two texts"])
@pytest.mark.parametrize("teacher, student", PAIRS)
def test_text_passes_between_tokenizers(
    teacher: str,
    student: str,
    texts: int,
    walk: Callable[..., DistillConfig],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learnt: list[tuple[Dataset, Dataset]] = []

    def watched(labelled: Dataset, *arguments: Any) -> Dataset:
        learnt.append((labelled, encode(labelled, *arguments)))
        return learnt[-1][1]

    monkeypatch.setattr("zskd.transfer.rows.encode", watched)
    config = walk(texts, teacher, student)
    metrics = distill(config).metrics
    saved = run_path(config) / "student"
    reader, model = AutoTokenizer.from_pretrained(saved), AutoModelForSequenceClassification.from_pretrained(saved)
    start = load(folders[teacher if student == "build" else student])
    if student == "build" and texts == 2:
        start = with_segments(start)
    asked = load(folders[teacher])
    for tokenizer in (reader, start, asked):
        assert_knows_words(tokenizer)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert reader.model_max_length <= 512

    columns = ["text", "text_b"][:texts]
    rows, read = learnt[0][0][:32], learnt[0][1][:32]
    pool = tuple(rows[name] for name in columns)
    # The teacher answered the text in its own ids, the student learnt it in its own, and reads it so ever after.
    answers = np.asarray(rows["teacher_logits"])
    whole = AutoModelForSequenceClassification.from_pretrained(folders[teacher])
    np.testing.assert_allclose(answers, logits_of(whole, asked, pool), atol=1e-4)
    assert answers.std(axis=0).min() > 1e-2
    encoded = inputs(start, pool)
    assert read["input_ids"] == encoded["input_ids"] and ("token_type_ids" in read) == (
        "token_type_ids" in encoded and texts == 2
    )
    assert inputs(reader, pool) == encoded
    assert (inputs(asked, pool)["input_ids"] == encoded["input_ids"]) == (student == "build")
    if "token_type_ids" in read:
        assert read["token_type_ids"] == encoded["token_type_ids"]

    report = learnt[2][0][:]
    agreed = logits_of(model, reader, tuple(report[name] for name in columns)).argmax(axis=1)
    assert (agreed == np.asarray(report["teacher_logits"]).argmax(axis=1)).mean() == metrics["agreement"]
    if student == "build":
        assert metrics["compression"] >= 2.0
        assert metrics["teacher_queries_by_use"]["single_tokens"] == len(asked)


def test_a_teacher_with_a_model_file_alone_is_distilled(
    walk: Callable[..., DistillConfig], model_files: dict[str, Path], tmp_path: Path, without: Callable[[str], None]
) -> None:
    folder = Path(shutil.copytree(model_files["xlmr"], tmp_path / "teacher"))
    classifier("xlmr", load(folder)).save_pretrained(folder)
    config = walk(2, "xlmr", "build")
    config.teacher = str(folder)
    distill(config)
    asked = load(folder)
    without("sentencepiece")
    reader = AutoTokenizer.from_pretrained(run_path(config) / "student")
    assert all(reader(text)["input_ids"] == asked(text)["input_ids"] for text in prose(50, seed=4))


def test_a_missing_package_ends_a_run_before_it_writes(
    walk: Callable[..., DistillConfig], model_files: dict[str, Path], tmp_path: Path, without: Callable[[str], None]
) -> None:
    folder = Path(shutil.copytree(model_files["deberta"], tmp_path / "teacher"))
    classifier("deberta", load(folder)).save_pretrained(folder)
    config = walk(1, "deberta", "build")
    config.teacher = str(folder)
    without("google.protobuf")
    with pytest.raises(InputError, match=f"--teacher {folder}: .*protobuf"):
        distill(config)
    assert not run_path(config).exists()


# --- explicit truncation ---


def cut(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...], length: int) -> tuple[str, ...]:
    """The texts as far as a tokenizer reads them when it stops at `length` tokens."""
    encoded = tokenizer(*texts, truncation=True, max_length=length, return_offsets_mapping=True)
    ends = [0] * len(texts)
    for part, (_, end) in zip(encoded.sequence_ids(), encoded["offset_mapping"], strict=True):
        if part is not None:
            ends[part] = max(ends[part], end)
    return tuple(text[:end] for text, end in zip(texts, ends, strict=True))


LONG = " ".join((WORDS * 50)[:2_000])
# Where both texts are cut, memory grows with the product of their lengths (huggingface/tokenizers, issue 2035).
OTHER = " ".join((WORDS[::-1] * 50)[:150])
INPUTS = {"one": (LONG,), "both": (LONG, OTHER), "first": (LONG, "the old river"), "second": ("the old river", LONG)}


@pytest.mark.parametrize("texts", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_long_text_is_cut_where_the_tokenizer_has_no_limit(
    kind: str, texts: tuple[str, ...], folders: dict[str, Path], tasks: dict[int, Path], tmp_path: Path
) -> None:
    asked = load_classifier(find_task(str(tasks[len(texts)])), str(folders[kind]), tmp_path)
    tokenizer = asked.tokenizer
    assert tokenizer.model_max_length > 10**6
    assert len(tokenizer(*texts, truncation=True)["input_ids"]) > 2_000  # what happens without a length
    short = cut(tokenizer, texts, LENGTH)
    assert len(tokenizer(*short)["input_ids"]) == LENGTH and short != texts
    assert tokenizer(*short)["input_ids"] == tokenizer(*texts, truncation=True, max_length=LENGTH)["input_ids"]

    def answer(row: tuple[str, ...], length: int) -> np.ndarray:
        return asked.logits(tuple([text] for text in row), max_length=length)

    np.testing.assert_array_equal(answer(texts, LENGTH), answer(short, 100))
    assert np.abs(answer(texts, LENGTH) - answer(texts, 100)).max() > 1e-3  # more text, another answer

    pool = Dataset.from_dict({name: [text] for name, text in zip(("text", "text_b"), texts, strict=False)})
    labelled = label_texts(pool, asked, tmp_path, max_length=LENGTH, precision="fp32", description="")
    np.testing.assert_array_equal(labelled.dataset["teacher_logits"][:], answer(short, 100))
    # A student reads it so, too.
    read = encode(labelled.dataset, tokenizer, LENGTH, tmp_path / "long.arrow")
    assert read["input_ids"][:] == [tokenizer(*short)["input_ids"]] and read["length"][:] == [LENGTH]


# --- segments as the model was trained with them ---

PAIR = ("the old river", "near the coast")


def segments_of(tokenizer: PreTrainedTokenizerBase) -> tuple[Any, Any]:
    return tokenizer(PAIR[0]).get("token_type_ids"), tokenizer(*PAIR).get("token_type_ids")


def patch(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))


def file_segments(folder: Path) -> tuple[list[int], list[int]]:
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return backend.encode(PAIR[0]).type_ids, backend.encode(*PAIR).type_ids


@pytest.mark.parametrize("family", FAMILIES)
def test_segments_are_those_of_the_file_where_version_4_gave_them(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", family)
    tokenizer = load(folder)
    wanted = file_segments(folder) if FAMILIES[family].segments else (None, None)
    assert segments_of(tokenizer) == wanted
    if family == "xlnet":
        assert wanted[0][-1] == 2 and set(wanted[1]) == {0, 1, 2}


@pytest.mark.parametrize("family", ["bert-own", "xlnet", "rembert"])
@pytest.mark.parametrize(
    ("written", "given"),
    [
        ({"config.json": {"transformers_version": "4.57.0"}}, True),
        ({"config.json": {"transformers_version": ...}}, True),
        # A newer configuration beside the tokenizer of an older version.
        ({"config.json": {"transformers_version": "5.23.0"}}, True),
        ({"config.json": {"transformers_version": "5.23.0"},
          "tokenizer_config.json": {"backend": "tokenizers", "tokenizer_class": "PreTrainedTokenizerFast"}}, True),
        # Both by the newer version: trained without.
        ({"config.json": {"transformers_version": "5.23.0"},
          "tokenizer_config.json": {"backend": "tokenizers", "tokenizer_class": "TokenizersBackend"}}, False),
        ({"tokenizer_config.json": {"model_input_names": ["input_ids", "attention_mask"]}}, False),
        ({"tokenizer_config.json": {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}}, True),
    ],
)  # fmt: skip
def test_who_wrote_a_folder_decides(family: str, written: dict[str, Any], given: bool, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", family)
    for name, values in written.items():
        patch(folder, name, **values)
    assert segments_of(load(folder)) == (file_segments(folder) if given else (None, None))


@pytest.mark.parametrize(
    "named", ["PreTrainedTokenizerFast", "MyTokenizerFast", "AlbertTokenizerFast", "HerbertTokenizerFast"]
)
def test_classes_that_gave_segments(named: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "albert", tokenizer_config={"tokenizer_class": named})
    assert segments_of(load(folder)) == file_segments(folder)


def test_a_family_for_which_transformers_builds_the_general_class(tmp_path: Path) -> None:
    """BertTokenizer gives segments; for Nystromformer its name is left aside."""
    folder = write_folder(tmp_path / "model", "bert")
    patch(folder, "config.json", model_type="nystromformer")
    assert segments_of(AutoTokenizer.from_pretrained(folder)) == (None, None)
    tokenizer = load(folder)
    assert segments_of(tokenizer) == file_segments(folder) and guards(tokenizer, 2) == ("pair segments",)


def test_words_of_japanese_berts(tmp_path: Path) -> None:
    """A class in Python, without a tokenizer.json: the second text and its [SEP] are segment 1."""
    folder = write_folder(tmp_path / "model", "bert")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    patch(folder, "tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer", word_tokenizer_type="basic")
    tokenizer = load(folder)
    ids = tokenizer(*PAIR)["input_ids"]
    first = 1 + ids.index(tokenizer.sep_token_id)
    alone, pair = segments_of(tokenizer)
    assert set(alone) == {0} and pair == [0] * first + [1] * (len(ids) - first)
    assert guards(tokenizer, 1) == () and guards(tokenizer, 2) == ("pair segments",)


def test_funnel_marks_its_first_token(tmp_path: Path) -> None:
    config = {"d_model": 32, "block_sizes": [1, 1], "n_head": 2, "d_head": 16, "d_inner": 48}
    folder = write_folder(tmp_path / "model", "bert", tokenizer_config={"tokenizer_class": "FunnelTokenizer"},
                          change=funnel_template)  # fmt: skip
    patch(folder, "config.json", model_type="funnel", type_vocab_size=..., num_hidden_layers=..., **config)
    tokenizer = load(folder)
    alone, pair = segments_of(tokenizer)
    assert (alone, pair) == file_segments(folder) and alone[0] == 2 and set(pair) == {0, 1, 2}
    assert guards(tokenizer, 1) == guards(tokenizer, 2) == ("segments",)


def funnel_template(backend: Tokenizer) -> None:
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:2 $A [SEP]", pair="[CLS]:2 $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )


@pytest.mark.parametrize(("family", "rows"), [("roberta", 1), ("roberta", 2), ("xlm-roberta", 1), ("mpnet", 2)])
def test_families_that_had_none_get_none(family: str, rows: int, tmp_path: Path) -> None:
    """RoBERTa's configuration says two by default, and its tokenizer gave no segments."""
    config = {} if family == "mpnet" else {"type_vocab_size": rows}
    folder = write_folder(tmp_path / "model", "roberta" if family == "roberta" else family)
    patch(folder, "config.json", **config)
    assert segments_of(load(folder)) == (None, None)


@pytest.mark.parametrize(
    ("family", "config"),
    [("distilbert", {}), ("mpnet", {}), ("roberta", {"type_vocab_size": 1}), ("bert", {"type_vocab_size": 1})],
)
def test_a_model_without_segments_is_given_none(family: str, config: dict[str, Any], tmp_path: Path) -> None:
    """A BertTokenizer beside a DistilBERT ended in a TypeError, one beside a single segment in an index error."""
    folder = write_folder(tmp_path / "model", family)
    word = write_folder(tmp_path / "words", "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(word / name, folder)
    patch(folder, "config.json", vocab_size=2000, **config)
    tokenizer = load(folder)
    assert segments_of(tokenizer) == (None, None) and guards(tokenizer) == ()
    tokenizer.save_pretrained(folder)
    assert segments_of(AutoTokenizer.from_pretrained(folder)) == (None, None)


@pytest.mark.parametrize("texts", [(["one of them"],), (["one of them"], ["and another"])])
def test_words_of_bert_beside_a_distilbert(texts: tuple[list[str], ...], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "distilbert", tokenizer_config={"tokenizer_class": "BertTokenizer"})
    model, tokenizer, _ = load_plain(str(folder), tmp_path, None, flag="--teacher")
    found = classifier_from(None, model, tokenizer, name="x").logits(texts, max_length=32, precision="fp32")
    np.testing.assert_allclose(found, plain_logits(folder, texts, segments=False), atol=1e-5)


def test_segments_beyond_the_model_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "bert-own", change=funnel_template)
    refused(folder, "gives segments up to 2, its model has 2", "model_input_names", "tokenizer_config.json")


def test_remote_code_never_runs(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "bert-own")
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    patch(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Mine", "mine.Mine"]})
    with contextlib.suppress(InputError):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("texts", "affected"), [(1, False), (2, True)])
def test_labels_of_wrong_ids_are_not_served_again(
    texts: int, affected: bool, tasks: dict[int, Path], tmp_path: Path
) -> None:
    """Cached by a version without guards: its key had five parts, and its tokenizer gave no segments."""
    folder, task = write_folder(tmp_path / "model", "bert-own"), find_task(str(tasks[texts]))
    now = load_classifier(task, str(folder), tmp_path)
    old = AutoTokenizer.from_pretrained(folder)
    assert "token_type_ids" not in old.model_input_names
    before = replace(now, tokenizer=old, tokenizer_fingerprint=tokenizer_fingerprint(old), guards=())
    assert before.cache_key("fp32", LENGTH) == now.cache_key("fp32", LENGTH)[:5]
    pool = Dataset.from_dict(dict(zip(("text", "text_b"), columns(texts), strict=False)))

    def label(teacher: Classifier) -> tuple[int, np.ndarray]:
        found = label_texts(pool, teacher, tmp_path, max_length=120, precision="fp32", description="")
        return found.live, np.asarray(found.dataset["teacher_logits"])

    rows = len(pool)
    wrong = label(before)
    right = label(now)
    assert wrong[0] == rows and right[0] == (rows if affected else 0)
    plain = plain_logits(folder, columns(texts), segments=True)
    np.testing.assert_allclose(right[1], plain, atol=1e-5)
    assert (np.abs(wrong[1] - plain).max() > 1e-2) == affected
    assert label(now)[0] == 0


def test_albert_keeps_its_key(tmp_path: Path, tasks: dict[int, Path]) -> None:
    folder = write_folder(tmp_path / "model", "albert")
    for texts in (1, 2):
        assert len(load_classifier(find_task(str(tasks[texts])), str(folder), tmp_path).cache_key("fp32", LENGTH)) == 5


# --- students of teachers that differ from BERT ---


WALKS = [
    ("xlnet", "build", 1), ("xlnet", "build", 2), ("xlnet", "itself", 1), ("xlnet", "itself", 2),
    ("gpt2", "build", 1), ("gpt2", "itself", 2), ("bert-own", "build", 2), ("rembert", "build", 2),
]  # fmt: skip


@pytest.mark.parametrize(("family", "student", "texts"), WALKS)
def test_a_student_of_any_family_is_what_it_was_scored_as(
    family: str, student: str, texts: int, walk: Callable[..., DistillConfig], tmp_path: Path
) -> None:
    """XLNet pads on the left and counts three segments; what is built of its tokenizer does not pad there."""
    folder = write_folder(tmp_path / "teacher", family, config={"hidden_size": 64} if family == "rembert" else None)
    start = "build" if student == "build" else str(folder)
    config = replace(walk(texts, "bert", "build"), teacher=str(folder), compression=1.5, student=start)
    result = distill(config)
    saved = run_path(config) / "student"
    tokenizer = AutoTokenizer.from_pretrained(saved)
    model = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    alone = [logits_of(model, tokenizer, tuple([column[i]] for column in columns(texts))) for i in range(4)]
    task = find_task(config.task)
    classifier = load_classifier(task, str(saved), tmp_path, flag="--model")
    found = classifier.logits(columns(texts), max_length=LENGTH, precision="fp32")
    np.testing.assert_allclose(found[:4], np.concatenate(alone), atol=1e-5)
    assert result.metrics and classifier.guards == ()
    wanted = FAMILIES[family].segments and (texts == 2 or family == "xlnet")
    assert not wanted or any(tokenizer(*PAIR[:texts])["token_type_ids"])


def test_a_model_in_memory_is_given_what_it_takes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "distilbert")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    words = BertTokenizer.from_pretrained(folder)
    assert "token_type_ids" in words.model_input_names
    task = tmp_path / "task.yaml"
    task.write_text('text_columns: [text, other]\nlabel_column: label\nlabels: ["no", "yes"]\n')
    teacher = load_teacher(find_task(str(task)), model, tokenizer=words)
    found = teacher.logits(columns(2), max_length=120, precision="fp32")
    np.testing.assert_allclose(found, plain_logits(folder, columns(2), segments=False), atol=1e-5)


@pytest.mark.parametrize("name", ["_inputs", "as_filed", "_knows_words", "_name_inputs"])
def test_a_mistake_of_ones_own_keeps_its_traceback(
    name: str, teacher_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("own")

    monkeypatch.setattr(f"zskd.models.tokenizers.{name}", broken)
    with pytest.raises(AttributeError, match=r"^own$"):
        load_tokenizer(Origin(str(teacher_folder)), flag="--teacher")


@pytest.mark.parametrize("names", [3, "input_ids", ["input_ids", 3]])
def test_names_of_inputs_are_a_list_of_names(names: object, teacher_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(teacher_folder, tmp_path / "model"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
    with pytest.raises(InputError, match=f"^--teacher {folder}: "):
        load_tokenizer(Origin(str(folder)), flag="--teacher")


@pytest.mark.parametrize("call", [ValueError("odd"), KeyError("odd"), RecursionError("odd")])
def test_what_a_call_of_the_tokenizer_raises_is_the_folders(
    call: Exception, teacher_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise call

    monkeypatch.setattr("transformers.tokenization_utils_base.PreTrainedTokenizerBase.__call__", broken)
    with pytest.raises(InputError, match=r"--teacher .*: the tokenizer does not load: .*odd"):
        load_tokenizer(Origin(str(teacher_folder)), flag="--teacher")
