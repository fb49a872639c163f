"""Tiny models, tokenizers and text, made in memory: the fast tests need no network and no download."""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guarded import World

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Tests with two threads beside another worker's: threads that wait and spin take its core, twenty times as long in all.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hub_server import HubServer, serving
from labelled_rows import ANSWERS, TOPICS, prose, rows_for, task_file, write_rows
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from recipes.tiny import random_bert, word_tokenizer
from zskd.cli import main
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.classifier import Classifier, load_classifier

# A shell ignores SIGHUP for what it starts with `nohup`, and SIGINT for what it starts with `&`. Commands that tests
# start would inherit that.
for ignored, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, usual)


def tiny_bert(
    vocab_size: int, labels: tuple[str, ...], hidden: int = 32, seed: int = 0
) -> BertForSequenceClassification:
    """A random BERT classifier of two layers, in evaluation mode."""
    return random_bert(vocab_size, labels, hidden, seed).eval()


def as_of_an_older_zskd(checkpoint: Path) -> None:
    """Take from a checkpoint what it has had only since there are manifests."""
    (checkpoint / "manifest.json").unlink()
    file = checkpoint / "trainer_state.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    del state["stateful_callbacks"]["zskd_manifest"]
    file.write_text(json.dumps(state), encoding="utf-8")


def save_model(folder: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A model folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fit_teacher(
    folder: Path, task: Task, rows: Labelled, rate: float = 3e-3, steps: int = 30, segments: bool = False
) -> Path:
    """A local BERT teacher that is no preset: two layers, fitted to some labelled rows, with segments or without."""
    tokenizer = word_tokenizer([*(text for texts in rows.texts for text in texts), *prose(600)])
    if segments:
        names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
    model = tiny_bert(len(tokenizer), task.labels)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    batch = tokenizer(*rows.texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
    labels = torch.tensor(rows.labels)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
        optimizer.step()
    return save_model(folder, model.eval(), tokenizer)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nothing else uses, where none is named."""
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "own-cache"))
    return tmp_path / "own-cache"


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentiment teacher that passes the gate."""
    task = TASKS["sst2"]
    return fit_teacher(tmp_path_factory.mktemp("teacher"), task, read_labelled(task, str(task.probe_path())))


@pytest.fixture(scope="session")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Task files: ``topics`` (one text, five classes, a probe beside it) and ``answers`` (two texts, no probe)."""
    folder = tmp_path_factory.mktemp("tasks")
    found = {name: task_file(folder / f"{name}.yaml", v) for name, v in (("topics", TOPICS), ("answers", ANSWERS))}
    task = find_task(found["topics"])
    write_rows(folder / "probe.tsv", task, rows_for(task, 90, seed=5))
    return found


@pytest.fixture(scope="session")
def teacher_for(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path) -> Callable[[str], Path]:
    """A teacher for any task, fitted to its probe where it has one, and to prose, so that it uses every class."""
    made = {"sst2": teacher_folder}

    def teacher_for(name: str) -> Path:
        if name not in made:
            task = find_task(name)
            rows, probe = rows_for(task, 90, seed=6), task.probe_path()
            if probe is not None:
                known = read_labelled(task, probe)
                texts = tuple([*left, *right] for left, right in zip(known.texts, rows.texts, strict=True))
                rows = Labelled(texts, [*known.labels, *rows.labels])
            made[name] = fit_teacher(tmp_path_factory.mktemp("teacher"), task, rows, rate=6e-3, steps=20)
        return made[name]

    return teacher_for


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student to start from that is not built from the teacher: one random layer less, with its own vocabulary."""
    tokenizer = word_tokenizer(prose(200))
    return save_model(tmp_path_factory.mktemp("student"), tiny_bert(len(tokenizer), ("a", "b"), 16, seed=3), tokenizer)


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 distinct lines of out-of-domain prose."""
    path = tmp_path_factory.mktemp("corpus") / "prose.txt"
    path.write_text("\n".join(prose(600)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def passages_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 passages of three sentences."""
    lines, path = prose(900, seed=2), tmp_path_factory.mktemp("corpus") / "passages.txt"
    passages = [" ".join(lines[i : i + 3]) for i in range(0, len(lines), 3)]
    path.write_text("\n".join(passages) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests that do not look into it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny_config(teacher_folder: Path, corpus_file: Path, shared_cache: Path, tmp_path: Path) -> DistillConfig:
    """A distillation that takes about a second."""
    return DistillConfig(
        task="sst2",
        teacher=str(teacher_folder),
        student="build",
        compression=2.0,
        corpus=[str(corpus_file)],
        pool_size=640,
        heldout=64,
        max_length=32,
        epochs=2.0,
        batch_size=32,
        checkpoints=4,
        precision="fp32",
        max_class_share=1.0,  # the teacher is random, and repeated rows would leave a last batch that is not whole
        cache_dir=str(shared_cache),
        output_dir=str(tmp_path / "run"),
    )


@pytest.fixture
def config_for(
    tiny_config: DistillConfig, teacher_for: Callable[[str], Path], passages_file: Path
) -> Callable[..., DistillConfig]:
    """A distillation of any task, smaller still: ``config_for(task, option=value, ...)``."""

    def config_for(task: str, **changes: Any) -> DistillConfig:
        small = {"pool_size": 320, "max_length": 64, "epochs": 1.0}
        options = {"corpus": [str(passages_file)], **small, **changes}
        if "teacher" not in options:
            options["teacher"] = str(teacher_for(task))
        return replace(tiny_config, task=task, **options)

    return config_for


def glue_folder(parent: Path) -> Path:
    """A GLUE folder for SST-2 with a few labelled rows."""
    folder = parent / "glue" / "SST-2"
    folder.mkdir(parents=True)
    rows = [
        ("a fine and moving film", 1),
        ("a dull and empty film", 0),
        ("bright , warm and funny", 1),
        ("cold and slow", 0),
    ]
    for name, copies in (("dev.tsv", 4), ("train.tsv", 30)):
        lines = [f"{text} {i}\t{label}" for i in range(copies) for text, label in rows]
        (folder / name).write_text("sentence\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder.parent


@pytest.fixture
def glue_dir(tmp_path: Path) -> Path:
    """`glue_folder` for one test."""
    return glue_folder(tmp_path)


@pytest.fixture(scope="session")
def finished_run(
    teacher_folder: Path, corpus_file: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a finished adversarial run with scores on a GLUE file; a test that changes it works on a copy."""
    from zskd.pipeline import distill

    folder = tmp_path_factory.mktemp("finished")
    distill(
        DistillConfig(
            task="sst2",
            teacher=str(teacher_folder),
            compression=2.0,
            corpus=[str(corpus_file)],
            perturb="adversarial",
            pool_size=640,
            heldout=64,
            max_length=32,
            batch_size=32,
            checkpoints=4,
            logging_steps=5,
            precision="fp32",
            generator_warmup=2,
            generator_steps=2,
            student_steps=5,
            glue_dir=str(glue_folder(folder)),
            cache_dir=str(shared_cache),
            output_dir=str(folder / "run"),
        )
    )
    return folder / "run"


@dataclass
class Result:
    """What a command left: exit code, standard output, and the error lines of standard error."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("zskd: error: ")]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    """`zskd ARGUMENTS...` in this process; an exception that would be a traceback fails the test."""
    logger = logging.getLogger("zskd")
    before = logger.handlers[:], logger.level, logger.propagate

    def run(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    yield run
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def as_flags(config: Any, **changes: Any) -> list[str]:
    """The flags that give `config`; `changes` are put in as they are, unchecked."""
    arguments: list[str] = []
    for item in fields(config):
        value = changes.get(item.name, getattr(config, item.name))
        if isinstance(value, bool):
            arguments.append(flag(item.name) if value else flag(f"no_{item.name}"))
        elif value not in (None, []):
            arguments += [flag(item.name), *map(str, value if isinstance(value, list) else [value])]
    return arguments


@dataclass
class Trail:
    """Files below some folders that Python opened, in order, each with the zskd functions at work, innermost first."""

    folders: tuple[str, ...]
    opened: list[tuple[Path, list[str]]] = field(default_factory=list)

    def record(self, path: str, frame: FrameType | None) -> None:
        functions = []
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("zskd."):
                functions.append(frame.f_code.co_name)
            frame = frame.f_back
        self.opened.append((Path(path), functions))


_trails: list[Trail] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _trails and isinstance(arguments[0], str | os.PathLike):
        path = os.path.abspath(os.fspath(arguments[0]))  # noqa: PTH100
        for trail in _trails:
            if path.startswith(trail.folders):
                trail.record(path, sys._getframe(1))


@functools.cache
def _install_audit_hook() -> None:
    # A hook cannot be removed, so there is one, which does nothing while no test watches.
    sys.addaudithook(_audit)


@pytest.fixture
def watch() -> Iterator[Callable[..., Trail]]:
    """Watch some folders from now on: ``trail = watch(folder, ...)``."""
    _install_audit_hook()

    def start(*folders: Path) -> Trail:
        _trails.append(Trail(tuple(f"{folder}{os.sep}" for folder in folders)))
        return _trails[-1]

    yield start
    _trails.clear()


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root is held to the permissions of files too, until the test has ended; other users are anyway."""
    before = _capabilities()
    if before is not None:
        _set_capabilities(before & ~_OVERRIDES)
    yield
    if before is not None:
        _set_capabilities(before)


_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of linux/capability.h
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _held() -> tuple[_Header, Any]:
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    if _LIBC.capget(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capget")
    return header, data


def _capabilities() -> int | None:
    """What this thread may do beyond permissions; None where the system knows no such thing."""
    return _held()[1][0].effective if hasattr(_LIBC, "capget") else None


def _set_capabilities(effective: int) -> None:
    header, data = _held()
    data[0].effective = effective
    if _LIBC.capset(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capset")


@pytest.fixture(scope="session")
def teacher(teacher_folder: Path, shared_cache: Path) -> Classifier:
    """The loaded sentiment teacher; a test that changes it works on a copy."""
    return load_classifier(TASKS["sst2"], str(teacher_folder), shared_cache)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, passages_file: Path) -> World:
    """Healthy folders of every role, see `guarded.make_world`; a test that changes one works on a copy."""
    from guarded import make_world  # imports this file

    return make_world(tmp_path_factory.mktemp("world"), passages_file)


CANARY = "hf_CANARYcanaryCANARYcanaryCANARY0001"


@pytest.fixture(scope="session")
def published_run(
    tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, corpus_file: Path, shared_cache: Path
) -> Path:
    """A finished run with an evaluation file; whoever changes it takes a copy."""
    from zskd.pipeline import distill

    folder = tmp_path_factory.mktemp("finished")
    (folder / "glue" / "SST-2").mkdir(parents=True)
    rows = [f"a {word} film {i}\t{label}" for word, label in (("fine", 1), ("dull", 0), ("warm", 1)) for i in range(9)]
    (folder / "glue" / "SST-2" / "dev.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    config = DistillConfig(
        task="sst2",
        teacher=str(teacher_folder),
        compression=2.0,
        corpus=[str(corpus_file)],
        pool_size=640,
        heldout=64,
        max_length=32,
        epochs=1.0,
        batch_size=32,
        checkpoints=2,
        precision="fp32",
        glue_dir=str(folder / "glue"),
        cache_dir=str(shared_cache),
        output_dir=str(folder / "run"),
    )
    distill(config)
    return folder / "run"


@pytest.fixture
def run_copy(published_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return shutil.copytree(published_run, tmp_path / "run")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub for this process: the client is pointed at it, `CANARY` is the token of the user ``me``; nobody waits."""
    import huggingface_hub.hf_api
    import transformers.utils.hub
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with serving() as server:
        server.tokens = {CANARY: "me", "hf_other": "other"}
        # Read from the environment when the client was imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", server.url)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
        monkeypatch.setenv("HF_TOKEN", CANARY)
        server.waited = []
        monkeypatch.setattr(time, "sleep", server.waited.append)
        close_session()
        yield server
        close_session()
