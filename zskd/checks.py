"""Checks of a distillation's options before models are loaded.

Imports neither torch nor transformers. Each problem names the flag, what was expected and what was found. Methods check
their own options (`zskd.config.methods`), and so do the other verbs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from zskd.config.cost import cost_problems
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag_of, limit_problems, within_limits
from zskd.config.methods.table import batch_problems
from zskd.config.resolve import TaskConfig, cache_root
from zskd.errors import InputError, nearest
from zskd.hub.ask import is_callable_name, is_local
from zskd.models.backbones import PACKAGED
from zskd.models.folder_checks import check_classifier, check_local
from zskd.models.method_needs import check_methods
from zskd.runs.folder import blocking_file, check_run_folder, run_path
from zskd.student.start_checks import check_built, check_start
from zskd.system.files import target_problem, write_problem
from zskd.system.paths import exists, found_at
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.labelled import check_header
from zskd.tasks.query_plan import plan_queries
from zskd.tasks.task import Task, find_task
from zskd.text.language import language_problems
from zskd.text.sources import check_source

# Most processes that are started here, where there are few cores, and where there are many.
PROCESSES = 8
PROCESSES_PER_CORE = 4

# Trackers of transformers -> the package each needs.
_TRACKERS = {
    "clearml": "clearml",
    "comet_ml": "comet_ml",
    "mlflow": "mlflow",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}


def check(config: DistillConfig, *, black_box: bool = False, model: bool = False) -> list[str]:
    """All problems of a distillation, in the order of its options; empty if it can run.

    Args:
        black_box: whether the teacher is a callable that is passed in Python, not named in the configuration.
        model: whether the teacher is a model that is passed in Python.
    """
    return check_options(config, lambda config, task: _check_distill(config, task, black_box, model))


def check_options(config: TaskConfig, rest: Callable[[TaskConfig, Task], list[str]]) -> list[str]:
    """Problems of any verb's options: limits, the task, and, if the task is known, the `rest`.

    Args:
        rest: further problems of options whose values are all within their limits: the first argument is `config`, in
            which other values are replaced by their defaults.
    """
    problems = limit_problems(config)
    try:
        task = find_task(config.task or "")
    except InputError as error:
        return error.problems + problems
    usable, named = within_limits(config), set(map(flag_of, problems))
    further = rest(config if usable == config else with_task_defaults(usable), task)
    return problems + [problem for problem in further if flag_of(problem) not in named]


def _check_distill(config: DistillConfig, task: Task, black_box: bool, model: bool) -> list[str]:
    problems = cost_problems(with_task_defaults(config))
    callable_teacher = black_box or (not model and is_callable_name(config.teacher))
    if callable_teacher:
        problems += check_built(config, task)
    elif not model:
        problems += check_classifier(task, config.teacher, config.label_map, "--teacher", config.max_length)
    if task.probe:
        problems += [f"--task {config.task}: probe: {problem}" for problem in check_header(task, task.probe)]
    if config.hub_eval and config.glue_dir is None and not task.hub_config:
        problems.append(f"--hub-eval: {task.name} is not one of the Hub's GLUE tasks; give --glue-dir or --no-hub-eval")
    if config.teacher == "default" and not task.teacher and not black_box and not model:
        problems.append(f"--teacher default: {task.name} names no teacher; give a folder, a Hub id or module:function")
    if config.student not in ("build", "default") and is_local(config.student):
        problems += check_local(config.student, "--student", config.max_length)
    problems += check_start(config, task)
    problems += _check_revisions(config, black_box or model)
    problems += _check_launcher(config)
    problems += _check_compile(config, callable_teacher)
    problems += check_outputs(config.teacher_outputs, callable_teacher, config.temperature)
    problems += _check_budget(config, task, callable_teacher)
    problems += _check_objective(config, task, callable_teacher)
    problems += check_methods(config, black_box=callable_teacher)
    problems += check_corpus(config.corpus)
    problems += _check_pairs(config, task)
    problems += _check_glue(task, config.glue_dir)
    problems += _check_tracker(config.report_to)
    problems += check_run_folder(run_path(config), config)
    return problems + check_batch_size(config, config.num_processes or 1) + check_cache_dir(config.cache_dir)


def _check_pairs(config: DistillConfig, task: Task) -> list[str]:
    if config.pairs == "wide" and not task.is_pair:
        return [f"--pairs wide: expected a task with two texts, found {task.name}, which has one; leave it out"]
    return language_problems(config.pairs, config.language)


def _check_budget(config: DistillConfig, task: Task, callable_teacher: bool) -> list[str]:
    """Whether a budget leaves a transfer set, as far as that is known before the teacher is loaded."""
    if config.query_budget is None:
        return []
    shown = f"--query-budget {config.query_budget}"
    if callable_teacher and (config.glue_dir is not None or config.hub_eval):
        flag = "--hub-eval" if config.glue_dir is None else f"--glue-dir {config.glue_dir}"
        return [
            f"{flag}: a callable would be asked for the rows of the evaluation files beside {shown}; leave it out, and "
            "score the student with `zskd evaluate --model RUN --data FILE`"
        ]
    cache = cache_root(config.cache_dir)
    if callable_teacher and (problem := write_problem(cache)):
        return [
            f"--cache-dir {cache}: expected a folder that can be written, as --query-budget keeps every answer in it, "
            f"found: {problem}; name another folder"
        ]
    try:
        plan_queries(with_task_defaults(config), task, of_callable=callable_teacher)
    except InputError as error:
        return [problem for problem in error.problems if problem.startswith(shown)]  # files are checked elsewhere
    return []


def _check_revisions(config: DistillConfig, handed_over: bool) -> list[str]:
    """A commit or tag of what is not on the Hub would be left out of account.

    Args:
        handed_over: whether the teacher is an object that is passed in Python.
    """
    problems = []
    for role in ("teacher", "student", "generator"):
        name, revision = getattr(config, role), getattr(config, f"{role}_revision")
        elsewhere = name in ("build", *PACKAGED) or is_callable_name(name) or is_local(name)
        if revision is not None and (elsewhere or (handed_over and role == "teacher")):
            found = "an object" if handed_over and role == "teacher" else name
            problems.append(
                f"--{role}-revision {revision}: expected a Hub id as --{role} beside it, found {found}; leave it out"
            )
    return problems


def check_processes(asked: int | None) -> list[str]:
    """``--num-processes``: more than this machine has cores for."""
    most = max(PROCESSES, PROCESSES_PER_CORE * len(os.sched_getaffinity(0)))
    if asked is None or "RANK" in os.environ or asked <= most:
        return []
    return [
        f"--num-processes {asked}: expected at most {most} on this machine, which has "
        f"{len(os.sched_getaffinity(0))} core(s)"
    ]


def launchers_precision(precision: str) -> str | None:
    """What a launcher asks for in place of a precision, which no record would name; None if it does not."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    return None if asked in ("no", precision) else asked


def _check_launcher(config: DistillConfig) -> list[str]:
    found = check_processes(config.num_processes)
    if not found and (asked := launchers_precision(config.student_precision)):
        return [
            f"--student-precision {config.student_precision}: the launcher asks for {asked} (accelerate launch "
            "--mixed_precision, or ACCELERATE_MIXED_PRECISION); set it to `no`, or --student-precision to the same "
            "value"
        ]
    return found


def _check_compile(config: DistillConfig, black_box: bool) -> list[str]:
    if not config.compile:
        return []
    if black_box:
        return ["--compile: a callable teacher cannot be compiled here; leave it out"]
    compiler = os.environ.get("CXX", "g++")  # what torch.compile calls
    if shutil.which(compiler) is None:
        return [
            f"--compile: expected a C++ compiler, found no {compiler}; install one, set CXX, or leave --compile out"
        ]
    return []


def check_outputs(outputs: str, black_box: bool, temperature: float = 1.0) -> list[str]:
    """Problems of ``--teacher-outputs``."""
    if outputs != "logits" and not black_box:
        return [f"--teacher-outputs {outputs}: a model with weights answers with logits; leave it out"]
    if outputs == "labels" and temperature != 1.0:
        return [f"--temperature {temperature}: has no effect on labels (--teacher-outputs labels); leave it out"]
    return []


def check_batch_size(config: DistillConfig, processes: int) -> list[str]:
    """Problems with sharing a batch among processes, those of the methods included."""
    if config.batch_size % processes:
        return [f"--batch-size {config.batch_size}: expected a multiple of the {processes} processes that share it"]
    return batch_problems(config, processes)


def _check_objective(config: DistillConfig, task: Task, black_box: bool) -> list[str]:
    problems = []
    if config.top_k is not None and config.top_k > task.num_labels:
        problems.append(f"--top-k {config.top_k}: expected at most the {task.num_labels} classes of {task.name}")
    if black_box and config.objective in ("kd-sim", "kd-pt+sim"):
        problems.append(
            f"--objective {config.objective}: a callable teacher has no output layer to compare classes by; use kd or "
            "kd-pt"
        )
    if config.max_class_share * task.num_labels < 1 - 1e-9:
        problems.append(
            f"--max-class-share {config.max_class_share}: expected at least the even share of the {task.num_labels} "
            f"classes of {task.name}, {1 / task.num_labels:.3g}"
        )
    if config.gold_labels is not None:
        problems += [f"--gold-labels: {problem}" for problem in check_header(task, config.gold_labels)]
    elif config.gold_weight != DistillConfig.gold_weight:
        problems.append(f"--gold-weight {config.gold_weight}: expected --gold-labels FILE with it, found none")
    return problems


def _check_tracker(name: str) -> list[str]:
    if name not in ("none", *_TRACKERS):
        return [f"--report-to {name}: {nearest(name, ('none', *_TRACKERS))}"]
    if name != "none" and find_spec(_TRACKERS[name]) is None:
        package = _TRACKERS[name]
        return [f"--report-to {name}: expected the package {package}, found none; pip install {package}"]
    return []


def _check_glue(task: Task, glue_dir: str | None) -> list[str]:
    if glue_dir is None:
        return []
    files = task.glue_files(glue_dir)
    main = next(iter(files.values()))
    return [
        f"--glue-dir {glue_dir}: {problem}"
        for path in files.values()
        if path == main or exists(path)
        for problem in check_header(task, path)
    ]


def check_corpus(names: list[str]) -> list[str]:
    """Problems of ``--corpus``."""
    if not names:
        return ["--corpus: expected files, folders, Hub data sets or `embedded`, found none"]
    return [problem for name in names for problem in check_source(name)]


def check_output(output: str | None) -> list[str]:
    """Problems of ``--output``, a file to write; an existing device or pipe is written to."""
    if output is None:
        return []
    there = found_at(output)
    if there in ("a folder", "a socket") or there.startswith("none ("):
        return [f"--output {output}: expected a file or a new name, found {there}"]
    if blocked := blocking_file(Path(output).parent):
        return [f"--output {output}: expected a folder, found {found_at(blocked)} at {blocked}"]
    problem = target_problem(Path(output))
    return [f"--output {output}: expected a file that can be written, found: {problem}"] if problem else []


def check_output_dir(folder: Path) -> list[str]:
    """Problems of ``--output-dir``, a folder that is put into its place when it is whole."""
    shown = f"--output-dir {folder}"
    if blocked := blocking_file(folder):
        return [f"{shown}: expected a folder, found {found_at(blocked)} at {blocked}"]
    problem = target_problem(folder)
    return [f"{shown}: expected a folder that can be written, found: {problem}"] if problem else []


def check_cache_dir(cache_dir: str | None) -> list[str]:
    """Problems of ``--cache-dir``. One that cannot be written will do if it holds something already."""
    folder = cache_root(cache_dir)
    shown = f"--cache-dir {cache_dir or folder}"
    if blocked := blocking_file(folder):
        return [f"{shown}: expected a folder, found {found_at(blocked)} at {blocked}"]
    if (problem := write_problem(folder)) and not _holds_something(folder):
        return [f"{shown}: expected a folder that can be written, found: {problem}; name another folder"]
    return []


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
