"""Teacher and student with tokenizers of different kinds: text passes between them, and only text."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from conftest import prose, word_tokenizer
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AlbertTokenizer,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
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
from zskd.models.loading import Origin, load_tokenizer
from zskd.pipeline import distill
from zskd.runs.folder import run_path
from zskd.student.initial import load_student
from zskd.student.word_features import token_reactions
from zskd.tasks.task import find_task
from zskd.teacher.classifier import load_classifier
from zskd.teacher.labelling import label_texts
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
    for texts, columns in {1: "[text]", 2: "[text, other]"}.items():
        path = made[texts] = folder / f"texts{texts}.yaml"
        path.write_text(f'text_columns: {columns}\nlabel_column: label\nlabels: ["no", "yes"]\n')
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
        refused(model_files[kind], "sentencepiece", "protobuf", "pip install 'zskd[sentencepiece]'", flag=flag)


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
    for word in ("river", "old", "coast"):
        (index,) = tokenizer(word, add_special_tokens=False)["input_ids"]
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
