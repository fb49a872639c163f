"""A teacher of which only the outputs are known: any callable that turns texts into logits.

It can do everything that needs outputs alone: be gated on the probe, label the transfer set, be scored. A student
cannot be built from it, because there are no weights and no tokenizer to build from.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from zskd.errors import InputError
from zskd.models.labels import align_labels, parse_label_map
from zskd.tasks.task import Task

# A list of texts, or of (text, text_b) pairs, to logits (rows, num_labels).
Ask = Callable[[list[Any]], Any]

BATCH = 256  # inputs per call
# Asked once per run: a service that changed answers these differently, and its cached logits are not used.
_FIXED = (
    "The bridge was closed after the storm.", "Nobody expected such a fine result.", "It is 40 km to the border.",
    "no", "Why did the committee refuse?", "A dull, endless and badly told story.",
    "Shares rose by 3 percent on Monday.",
    "She thanked everyone who had helped her through the long winter, and then she left without another word.",
)  # fmt: skip


@dataclass(frozen=True)
class BlackBox:
    """A callable teacher with the attributes of `zskd.teacher.classifier.Classifier` that its users need.

    Attributes:
        order: for each task label, the column of the callable's logits that belongs to it.
        fingerprint: SHA-256 over the callable's source file and its answers to fixed texts; of an object that is
            handed over, which can differ from another where no file shows it, its own attribute ``fingerprint``, or
            one that no other run shares.
        parameters: number of parameters where the callable has an attribute of that name, else None.
    """

    name: str
    ask: Ask
    order: tuple[int, ...]
    fingerprint: str
    parameters: int | None = None
    tokenizer_fingerprint: str = ""
    revision: str | None = None

    def logits(self, texts: tuple[list[str], ...], progress: tqdm | None = None) -> np.ndarray:
        """Logits ``(rows, num_labels)`` float32 in the callable's own class order.

        Raises:
            InputError: another shape, or values that are no finite numbers.
        """
        rows = _rows(texts)
        logits = np.empty((len(rows), len(self.order)), dtype=np.float32)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            logits[start : start + BATCH] = _checked(f"--teacher {self.name}", self.ask, batch, len(self.order))
            if progress is not None:
                progress.update(len(batch))
        return logits


def import_callable(name: str, *, flag: str) -> Ask:
    """The object behind ``module:function``; modules in the working folder are found too.

    Raises:
        InputError: no such module or attribute, or it cannot be called.
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
    task: Task, teacher: str | Ask, *, label_map: str | None = None, flag: str = "--teacher"
) -> BlackBox:
    """A callable teacher for a task.

    Args:
        teacher: the callable, or ``module:function``. It gets a list of texts, for tasks with two texts of
            ``(text, text_b)`` tuples, and returns ``(rows, num_labels)`` logits (array, tensor or nested list). Its
            columns are in the order of the task's labels, unless it has an attribute ``labels`` with their names.

    Raises:
        InputError: it cannot be imported or called, its labels are not the task's, or it answers with another
            shape or with values that are not finite.
    """
    name = teacher if isinstance(teacher, str) else getattr(teacher, "__qualname__", type(teacher).__qualname__)
    ask = import_callable(teacher, flag=flag) if isinstance(teacher, str) else teacher
    shown = f"{flag} {name}"
    names = [str(label) for label in getattr(ask, "labels", task.labels)]
    order = align_labels(task, names, parse_label_map(label_map) if label_map else None, flag=shown)
    rows = _rows((list(_FIXED),) * len(task.text_columns))
    answers = _checked(shown, ask, rows, task.num_labels)
    digest = hashlib.sha256(repr((name, names)).encode() + _source(ask) + answers.tobytes())
    if not isinstance(teacher, str):
        known = getattr(ask, "fingerprint", None)
        digest.update(str(known).encode() if known else uuid.uuid4().bytes)
    parameters = getattr(ask, "parameters", None)
    return BlackBox(
        name=name,
        ask=ask,
        order=tuple(order),
        fingerprint=digest.hexdigest(),
        parameters=parameters if isinstance(parameters, int) else None,
    )


def _rows(texts: tuple[list[str], ...]) -> list[Any]:
    return list(texts[0]) if len(texts) == 1 else list(zip(*texts, strict=True))


def _source(ask: Ask) -> bytes:
    try:
        return Path(inspect.getfile(ask if inspect.isroutine(ask) else type(ask))).read_bytes()
    except (TypeError, OSError):
        return b""  # built in, or made at the prompt: its answers are all there is


def _checked(shown: str, ask: Ask, rows: Sequence[Any], num_labels: int) -> np.ndarray:
    answer = ask(list(rows))
    if hasattr(answer, "detach"):
        answer = answer.detach().float().cpu()
    try:
        logits = np.asarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{shown}: expected logits as numbers, found: {error}") from error
    if logits.shape != (len(rows), num_labels):
        raise InputError(
            f"{shown}: expected logits of shape ({len(rows)}, {num_labels}) for {len(rows)} inputs, "
            f"found {logits.shape}"
        )
    if not np.isfinite(logits).all():
        raise InputError(f"{shown}: expected finite logits, found NaN or infinity for {rows[0]!r} or a row after it")
    return logits
