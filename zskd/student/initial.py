"""The initial student: any sequence classifier, or one built from the teacher under a parameter budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, set_seed
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.labels import make_single_label, record_texts
from zskd.models.lengths import record_length, set_reading_length
from zskd.models.loading import find_model, load_weights
from zskd.models.positions import length_problem
from zskd.models.tokenizers import load_tokenizer
from zskd.models.vocabulary import vocabulary_size
from zskd.runs.start_record import Start
from zskd.student.built import build_student, label_config
from zskd.student.started import chosen_start, started_student
from zskd.system.seeds import Stream, seed_of
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import check_fit


def load_student(
    task: Task, name: str, revision: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str | None]:
    """Load a student from a folder or the Hub; it gets a new head unless its own has the task's labels, in any order.

    Returns:
        The model (float32), its tokenizer, and the commit of a Hub model.
    """
    origin = find_model(task.student if name == "default" else name, revision, flag="--student")
    model = load_weights(origin, flag="--student", new_head=label_config(task))
    tokenizer = load_tokenizer(origin, flag="--student")
    check_fit(model, tokenizer, shown=f"--student {origin.name}")
    set_reading_length(tokenizer, model.config)
    return model, tokenizer, origin.revision


@dataclass(frozen=True)
class InitialStudent:
    """The untrained student.

    Attributes:
        model: a sequence classifier in float32.
        tokenizer: its tokenizer.
        revision: commit of a Hub model, else None.
        tokens: number of single tokens whose teacher answers it was built from.
        asked: how many of them the teacher answered in this run; the rest came from the cache.
        start: the start that it began with; None without one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    revision: str | None = None
    tokens: int = 0
    asked: int = 0
    start: Start | None = None


def initial_student(
    task: Task,
    name: str,
    revision: str | None,
    teacher: Teacher,
    *,
    compression: float,
    precision: str,
    seed: int,
    cache: Path,
    max_length: int | None = None,
    start: str = "auto",
    ask_tokens: bool = True,
) -> InitialStudent:
    """The student that ``--student`` names: ``build``, ``default``, a folder or a Hub id.

    Args:
        seed: seed of random weights.
        max_length: tokens to which its inputs will be cut in training, which its configuration records; None if that
            is not known.
        start: what a built student begins with: folder of a start, ``packaged``, ``none``, or ``auto``, see
            `zskd.student.started.chosen_start`.
        ask_tokens: whether the teacher is asked for single tokens, to build the student's word embeddings.

    Raises:
        InputError: it does not load, does not fit the budget, cannot read `max_length` tokens, or cannot be built
            because the teacher is a callable and no start is packaged for its task.
    """
    set_seed(seed_of(Stream.START, seed))
    if name == "build":
        begun, tokens = None, 0
        if teacher.tokenizer is None and start == "auto":
            start = "packaged"  # a callable brings nothing that a student could be built from
        elif start == "auto":
            start = chosen_start(task, teacher.require_weights("--student build"), compression, ask_tokens=ask_tokens)
        if start == "none":
            source = teacher.require_weights("--student build --start-from none")
            model, tokenizer, asked = build_student(task, source, compression, precision, cache, ask_tokens=ask_tokens)
        else:
            model, tokenizer, asked, begun = started_student(
                task, teacher, start, compression, precision, cache, ask_tokens=ask_tokens
            )
        if ask_tokens and teacher.tokenizer is not None:
            tokens = vocabulary_size(teacher.tokenizer)
        student = InitialStudent(model, tokenizer, tokens=tokens, asked=asked, start=begun)
    else:
        student = InitialStudent(*load_student(task, name, revision))
    record_texts(student.model.config, task)
    make_single_label(student.model.config)
    if max_length is not None:
        config, limit = student.model.config, student.tokenizer.model_max_length
        if problem := length_problem(config.to_dict(), limit, f"--student {name}", max_length):
            raise InputError(problem)
        record_length(config, max_length)
    return student
