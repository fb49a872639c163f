"""Tasks as data: what a classifier reads, what it answers, and where labelled files of the task are.

A `Task` contains names only; `zskd.tasks.labelled` reads files. The six GLUE tasks are defined below. A YAML file with
`Task`'s attributes as keys defines any other task (`find_task`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from zskd.errors import InputError, nearest
from zskd.system.paths import exists, expanded, found_at, is_file, is_folder
from zskd.system.yaml_text import brief, load_yaml
from zskd.tasks.task_file import METRICS, file_problems

HUB_DATA = "nyu-mll/glue"
DEFAULT_STUDENT = "google/bert_uncased_L-4_H-256_A-4"


@dataclass(frozen=True)
class Task:
    """One classification task with one or two input texts.

    Attributes:
        name: the name behind ``--task``.
        text_columns: one or two column names in labelled files.
        label_column: the label's column name in labelled files.
        labels: label names in the order of the class index.
        file_labels: a label as written in the file -> label name; by default the name itself, or the class index.
        inputs: what each text is, one of `INPUT_KINDS`. All that shaping knows of a task.
        folder: the task's folder in the official GLUE download.
        dev_files: evaluation set name -> file name inside `folder`.
        metrics: names that the shipped metric module reports; the first is the main score.
        max_length: tokens of an input; longer ones are cut, unless ``--max-length`` says otherwise.
        teacher: the default teacher on the Hub, or a folder.
        student: the default student on the Hub, or a folder.
        teacher_labels: label names of the default teacher when its configuration says LABEL_i.
        hub_config: configuration of `HUB_DATA` on the Hub; empty where the task is not one of GLUE's.
        hub_splits: evaluation set name -> Hub split.
        hub_columns: text columns on the Hub.
        probe: labelled file for the teacher gate, for a task that has no packaged one.

    Example:
        >>> task = Task(name="desk", text_columns=("mail",), label_column="desk", labels=("billing", "sales"))
        >>> task.num_labels, task.is_pair, task.file_labels["1"]
        (2, False, 'sales')
    """

    name: str
    text_columns: tuple[str, ...]
    label_column: str
    labels: tuple[str, ...]
    file_labels: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    folder: str = ""
    dev_files: dict[str, str] = field(default_factory=lambda: {"dev": "dev.tsv"})
    metrics: tuple[str, ...] = ("accuracy",)
    max_length: int = 64
    teacher: str = ""
    student: str = DEFAULT_STUDENT
    teacher_labels: dict[str, str] = field(default_factory=dict)
    hub_config: str = ""
    hub_splits: dict[str, str] = field(default_factory=dict)
    hub_columns: tuple[str, ...] = ()
    probe: str = ""

    def __post_init__(self) -> None:
        """Fill in what follows from other attributes."""
        names = {name: name for name in self.labels}
        # Class numbers too, unless a label is a number itself.
        numbers = {} if any(map(str.isdigit, names)) else {str(i): label for i, label in enumerate(self.labels)}
        object.__setattr__(self, "file_labels", self.file_labels or numbers | names)
        object.__setattr__(self, "inputs", self.inputs or ("text",) * len(self.text_columns))

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def is_pair(self) -> bool:
        """True where the classifier reads two texts."""
        return len(self.text_columns) == 2

    def probe_path(self) -> Path | None:
        """Path of the probe, or None where the task has none."""
        packaged = Path(str(resources.files("zskd"))) / "assets" / "probes" / f"{self.name}.tsv"
        if self.probe:
            return Path(self.probe)
        return packaged if packaged.is_file() and TASKS.get(self.name) == self else None

    def adapter_path(self, teacher: str = "embedded") -> Path | None:
        """Folder of the adapter of a packaged teacher, by its name (`zskd.models.backbones.PACKAGED`), or None."""
        path = Path(str(resources.files("zskd"))) / "assets" / "adapters" / teacher / self.name
        return path if TASKS.get(self.name) == self and (path / "adapter_config.json").is_file() else None

    def no_adapter(self, teacher: str) -> str:
        """What to say where a packaged teacher has no adapter for this task."""
        return f"no adapter for {self.name} is packaged; train one with `zskd finetune --base {teacher}`"

    def glue_files(self, glue_dir: str | Path) -> dict[str, Path]:
        """Evaluation set name -> path below `glue_dir`, which may be the GLUE folder or the task's own."""
        folder = self._folder(glue_dir)
        return {name: folder / file for name, file in self.dev_files.items()}

    def train_file(self, glue_dir: str | Path) -> Path:
        """Path of the training file below `glue_dir`."""
        return self._folder(glue_dir) / "train.tsv"

    def _folder(self, glue_dir: str | Path) -> Path:
        root = Path(glue_dir)
        return root / self.folder if is_folder(root / self.folder) else root


def _glue(
    name: str,
    folder: str,
    texts: tuple[str, ...],
    label: str,
    labels: tuple[str, ...],
    *,
    named: bool = False,
    hub_columns: tuple[str, ...] | None = None,
    **more: Any,
) -> Task:
    return Task(
        name=name,
        text_columns=texts,
        label_column=label,
        labels=labels,
        file_labels={label if named else str(i): label for i, label in enumerate(labels)},
        folder=folder,
        dev_files=more.pop("dev_files", {"glue": "dev.tsv"}),
        hub_config=name,
        hub_splits=more.pop("hub_splits", {"glue": "validation"}),
        hub_columns=hub_columns or texts,
        teacher=f"yoshitomo-matsubara/bert-large-uncased-{name}",
        teacher_labels={f"LABEL_{i}": value for i, value in enumerate(labels)},
        **more,
    )


_TWO_WAY = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")

# The presets by name: sst2, mnli, qqp, qnli, mrpc, rte.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _glue("sst2", "SST-2", ("sentence",), "label", ("negative", "positive")),
        _glue(
            "mnli",
            "MNLI",
            ("sentence1", "sentence2"),
            "gold_label",
            _THREE_WAY,
            named=True,
            hub_columns=("premise", "hypothesis"),
            dev_files={"glue": "dev_matched.tsv", "glue_mismatched": "dev_mismatched.tsv"},
            hub_splits={"glue": "validation_matched", "glue_mismatched": "validation_mismatched"},
            max_length=96,
        ),
        _glue(
            "qqp",
            "QQP",
            ("question1", "question2"),
            "is_duplicate",
            ("not_duplicate", "duplicate"),
            inputs=("question", "question"),
            metrics=METRICS,
        ),
        _glue(
            "qnli",
            "QNLI",
            ("question", "sentence"),
            "label",
            _TWO_WAY,
            named=True,
            inputs=("question", "passage"),
            max_length=128,
        ),
        _glue(
            "mrpc",
            "MRPC",
            ("#1 String", "#2 String"),
            "Quality",
            ("not_equivalent", "equivalent"),
            hub_columns=("sentence1", "sentence2"),
            metrics=METRICS,
            max_length=96,
        ),
        _glue(
            "rte",
            "RTE",
            ("sentence1", "sentence2"),
            "label",
            _TWO_WAY,
            named=True,
            inputs=("passage", "text"),
            max_length=128,
        ),
    )
}


def find_task(name: str) -> Task:
    """The preset of that name, or the task that a YAML file defines.

    Args:
        name: of a preset in `TASKS`, or the path of a ``.yaml`` file with `Task`'s attributes as keys.

    Raises:
        InputError: neither; or a task file that is not one (`read_task`).

    Example:
        >>> find_task("mnli").labels
        ('entailment', 'neutral', 'contradiction')
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith((".yaml", ".yml")):
        return read_task(expanded(name))
    found = f"found {brief(name)}; {nearest(name, TASKS)}" if name else "found none"
    raise InputError(f"--task: expected one of {', '.join(TASKS)} or a task file (.yaml), {found}")


def task_name(name: str) -> str:
    """Name of a task in folder names: the preset's name, or the task file's name without its suffix."""
    return Path(name).stem


def task_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the content of a task file: `Task`'s attributes by name."""
    return file_problems(values, {item.name: str(item.type) for item in dataclasses.fields(Task)})


def read_task(path: Path) -> Task:
    """A task from a YAML file whose keys are `Task`'s attributes; paths in it are relative to the file.

    Raises:
        InputError: the file is not a readable YAML mapping, or has unknown keys or wrong values; all of them are named.
    """
    if not is_file(path):
        raise InputError(f"--task {path}: expected a task file, found {found_at(path)}")
    try:
        values = load_yaml(path, f"--task {path}")
    except OSError as error:
        raise InputError(f"--task {path}: expected a task file, found: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"--task {path}: expected `key: value` lines, found a {type(values).__name__}")
    values.setdefault("name", path.stem)
    if problems := task_problems(values):
        raise InputError([f"--task {path}: {problem}" for problem in problems])
    for key in ("file_labels", "teacher_labels", "dev_files"):
        if key in values:
            values[key] = {str(k): str(v) for k, v in values[key].items()}
    for key in ("text_columns", "labels", "inputs", "metrics", "hub_columns"):
        if key in values:
            values[key] = tuple(map(str, values[key]))
    for key in ("probe", "teacher", "student"):
        if values.get(key) and (key == "probe" or exists(path.parent / values[key])):
            values[key] = str(path.parent / values[key])
    return Task(**values)
