"""A black-box teacher: any callable that turns texts into logits, probabilities or labels.

It can pass the gate, label the transfer set and be scored, because these need outputs only. It has neither weights nor
a tokenizer, so that a student is built from a start (`zskd.student.started`) or named.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.models.bulk import Meter
from zskd.models.labels import align_labels, parse_label_map
from zskd.tasks.task import Task
from zskd.teacher.answers import FOLDER, NAME, AnswerStore
from zskd.teacher.asking import RETRIES, Allowance, Asker, call_size
from zskd.teacher.base import Teacher, Texts
from zskd.teacher.outputs import to_logits

# From a list of texts, or of (text, text_b) pairs, to logits or probabilities (rows, num_labels), or labels (rows,).
Ask = Callable[[list[Any]], Any]

# Asked when a run begins. A service that has changed answers differently, and then its cached logits are not used.
_FIXED = (
    "The bridge was closed after the storm.", "Nobody expected such a fine result.", "It is 40 km to the border.",
    "no", "Why did the committee refuse?", "A dull, endless and badly told story.",
    "Shares rose by 3 percent on Monday.",
    "She thanked everyone who had helped her through the long winter, and then she left without another word.",
)  # fmt: skip


_IDENTITY = "identity"  # names, among runs, what was asked for in vain meanwhile


@dataclass(frozen=True)
class BlackBox(Teacher):
    """A callable teacher; see `zskd.teacher.base.Teacher`.

    Attributes:
        order: for each task label, the column of the callable's logits that belongs to it.
        fingerprint: SHA-256 over the callable's source file and its answers to fixed texts. The source file does not
            identify an object that is passed in Python; its attribute ``fingerprint`` is used, or else a value that
            no other run shares.
        parameters: number of parameters, if the callable has an attribute of that name, else None.
        outputs: kind of answer, see `zskd.teacher.outputs.to_logits`.
        asker: asks it, and keeps its answers.
        repeated: texts of calls that failed while it was identified.
    """

    name: str
    asker: Asker = field(compare=False)
    order: tuple[int, ...]
    fingerprint: str
    parameters: int | None = None
    tokenizer_fingerprint: str = ""
    revision: str | None = None
    tokenizer: None = None
    outputs: str = "logits"
    repeated: int = field(default=0, compare=False)

    @property
    def device_type(self) -> None:
        """None, because the callable does not compute on a device of this process."""
        return None

    @property
    def asked(self) -> int:
        """Texts that it was asked for so far, failed calls included."""
        return self.asker.asked

    def cache_key(self, precision: str, max_length: int) -> list[Any]:
        """Fingerprints, precision and length. The batch size is left out, because the callable batches by itself."""
        return [self.fingerprint, self.tokenizer_fingerprint, precision, max_length, 0]

    def precision(self, asked: str) -> str:
        """Always ``its own``."""
        return "its own"

    def for_inference(self, precision: str, compile: bool = False) -> BlackBox:
        """Itself."""
        return self

    def prepare(self, texts: Texts, max_length: int) -> list[Any]:
        """The texts, or tuples of two."""
        return _rows(texts)

    def own_logits(self, prepared: list[Any], precision: str, meter: Meter | None = None) -> np.ndarray:
        """Logits ``(rows, num_labels)`` float32 in the callable's own class order.

        Raises:
            InputError: the answer has another shape, or its values do not fit `outputs`.
            RunError: the callable failed more often than it may, or its answers cannot be kept.
        """
        if not prepared:
            return np.empty((0, self.num_labels), dtype=np.float32)
        return self.asker.answers(prepared, None if meter is None else meter.count)

    def require_weights(self, what: str) -> NoReturn:
        """Always raises, because a callable has no weights.

        Raises:
            InputError: always.
        """
        raise InputError(f"{what}: a callable teacher has no weights; expected a model, found {self.name}")


def import_callable(name: str, *, flag: str) -> Ask:
    """Import ``module:function``; modules in the working folder are found too.

    Raises:
        InputError: the module or attribute does not exist, or it is not callable.
    """
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{flag} {name}: expected module:function, found: {error}") from error
    if not callable(found):
        raise InputError(f"{flag} {name}: expected something that can be called, found a {type(found).__name__}")
    return found


def load_black_box(
    task: Task,
    teacher: str | Ask,
    cache: Path | None = None,
    *,
    label_map: str | None = None,
    outputs: str = "logits",
    retries: int = RETRIES,
    identified: bool = False,
    flag: str = "--teacher",
) -> BlackBox:
    """Make a callable the teacher for a task.

    Args:
        teacher: the callable, or ``module:function``. It receives a list of texts; for tasks with two texts, a list of
            ``(text, text_b)`` tuples. Its classes must be in the order of the task's labels, unless it has an
            attribute ``labels`` with their names. It receives 256 texts at a time, or as many as its attribute
            ``batch_size`` says.
        cache: zskd's cache folder, in which answers are kept; default: ``$ZSKD_CACHE`` or ``~/.cache/zskd``.
        outputs: what it returns, see `zskd.teacher.outputs.to_logits`: ``logits`` or ``probabilities``
            ``(rows, num_labels)`` (array, tensor or nested list), or ``labels`` ``(rows,)``.
        retries: how often it is asked again when it fails, see `zskd.teacher.asking.Asker`.
        identified: whether its answers to the fixed texts may be those of an earlier call, as for a run with a budget
            that goes on, and in all processes but one.

    Raises:
        InputError: it cannot be imported or called, its labels are not the task's, or its answers do not fit
            `outputs`.
    """
    name = teacher if isinstance(teacher, str) else getattr(teacher, "__qualname__", type(teacher).__qualname__)
    ask = import_callable(teacher, flag=flag) if isinstance(teacher, str) else teacher
    shown = f"{flag} {name}"
    names = [str(label) for label in getattr(ask, "labels", task.labels)]
    order = align_labels(task, names, parse_label_map(label_map) if label_map else None, flag=shown)
    folder = (cache or cache_root(None)) / FOLDER
    ask_for = _to_ask(ask, tuple(names), outputs, shown)
    known_as = repr((name, names, *(() if outputs == "logits" else (outputs,)))).encode() + _source(ask)
    asker = Asker(
        ask_for,
        AnswerStore(folder / f"identity-{hashlib.sha256(known_as).hexdigest()[:16]}.sqlite"),
        size=call_size(ask, shown),
        retries=retries,
        shown=shown,
    )
    fixed, repeated = _fixed_answers(asker, len(task.text_columns), identified)
    digest = hashlib.sha256(known_as + fixed.tobytes())
    known = teacher if isinstance(teacher, str) else getattr(ask, "fingerprint", None)
    if not isinstance(teacher, str):
        digest.update(str(known).encode() if known else uuid.uuid4().bytes)
    # Nobody could find the answers of a nameless one again.
    asker.store = AnswerStore(folder / digest.hexdigest()[:16] / NAME if known else None)
    parameters = getattr(ask, "parameters", None)
    return BlackBox(
        name=name,
        asker=asker,
        order=tuple(order),
        fingerprint=digest.hexdigest(),
        parameters=parameters if isinstance(parameters, int) else None,
        outputs=outputs,
        repeated=repeated,
    )


def _to_ask(ask: Ask, names: tuple[str, ...], outputs: str, shown: str) -> Callable[[list[Any]], np.ndarray]:
    """The callable, with its answers as logits in its own class order."""
    return lambda rows: to_logits(ask(list(rows)), rows, names, outputs, shown=shown)


def _fixed_answers(asker: Asker, texts: int, identified: bool) -> tuple[np.ndarray, int]:
    """Answers to the texts that identify a callable: it is asked for them, unless those of an earlier call will do.

    Returns:
        Logits ``(rows, num_labels)``, and how many texts it was asked for in vain, in that earlier call too.
    """
    rows, store = _rows((list(_FIXED),) * texts), asker.store
    before = store.repeated(_IDENTITY)
    if before and not identified:
        store.note_repeated(_IDENTITY, before := 0)
    asker.allowance = allowance = Allowance(sys.maxsize, before, lambda texts: store.note_repeated(_IDENTITY, texts))
    if identified:
        found = asker.answers(rows)
    else:
        batches = [rows[at : at + asker.size] for at in range(0, len(rows), asker.size)]
        found = np.concatenate([asker.renewed(batch) for batch in batches])
    asker.allowance = None
    return found, allowance.repeated


def _rows(texts: Texts) -> list[Any]:
    return list(texts[0]) if len(texts) == 1 else list(zip(*texts, strict=True))


def _source(ask: Ask) -> bytes:
    try:
        return Path(inspect.getfile(ask if inspect.isroutine(ask) else type(ask))).read_bytes()
    except (TypeError, OSError):
        return b""  # built in, or defined at the prompt: only the answers can identify it
