"""Everything about a configuration that can be found wrong before a weight is loaded.

Imports neither torch nor transformers. Each problem names the flag, what was expected and what was found.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from zskd.config.distillation import DistillConfig
from zskd.config.limits import limit_problems
from zskd.config.resolve import Config, cache_root
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig
from zskd.errors import InputError, nearest
from zskd.hub.ask import is_callable_name, is_local
from zskd.models.folder_checks import check_classifier, check_local
from zskd.runs.folder import blocking_file, check_run_folder, run_path
from zskd.runs.read import run_config
from zskd.tasks.labelled import check_header
from zskd.tasks.task import Task, find_task
from zskd.text.sources import check_source

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


def check(config: Config, *, black_box: bool = False, model: bool = False) -> list[str]:
    """All problems of a configuration, in the order of its options; empty where it can run.

    Args:
        black_box: the teacher is a callable that is handed over beside the configuration.
        model: it is a model that is handed over.
    """
    problems = limit_problems(config)
    if isinstance(config, PredictConfig) and not config.task:
        return problems + _check_predict(config, None)
    task = _find(config.task or "", problems)
    if task is None:
        return problems
    if isinstance(config, DistillConfig):
        problems += _check_distill(config, task, black_box, model)
    elif isinstance(config, FinetuneConfig):
        problems += _check_finetune(config, task)
    elif isinstance(config, PredictConfig):
        problems += _check_predict(config, task)
    elif isinstance(config, DiagnoseConfig):
        problems += _check_diagnose(config, task)
    else:
        problems += _check_evaluate(config, task)
    return problems


def _find(name: str, problems: list[str]) -> Task | None:
    try:
        return find_task(name)
    except InputError as error:
        problems[:0] = error.problems
        return None


def _check_distill(config: DistillConfig, task: Task, black_box: bool, model: bool) -> list[str]:
    problems = []
    black_box = black_box or (not model and is_callable_name(config.teacher))
    if black_box:
        problems += _check_black_box(config)
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
    problems += _check_launcher(config)
    problems += _check_compile(config, black_box)
    problems += _check_outputs(config.teacher_outputs, black_box, config.temperature)
    problems += _check_objective(config, task, black_box)
    if config.perturb == "adversarial":
        problems += _check_adversary(config)
    if not config.corpus:
        problems.append("--corpus: expected files, folders, Hub data sets or `embedded`, found none")
    for name in config.corpus:
        problems += check_source(name)
    problems += _check_glue(task, config.glue_dir)
    problems += _check_tracker(config.report_to)
    problems += check_run_folder(run_path(config), config)
    return problems + check_batch_size(config, config.num_processes or 1) + _check_cache(config.cache_dir)


def _check_black_box(config: DistillConfig) -> list[str]:
    problems = []
    if config.perturb == "adversarial" and config.adversary == "gradient":
        problems.append(
            "--adversary gradient: a callable teacher shows no weights to learn through; use --adversary candidates"
        )
    if config.perturb == "adversarial" and config.generator == "build":
        problems.append(
            "--generator build: a callable teacher shows no layers to build one from; name a masked language model "
            "with the student's vocabulary"
        )
    if config.student == "build":
        problems.append(
            "--student build: a callable teacher shows no weights to build a student from; name a folder or Hub id"
        )
    return problems


def _check_launcher(config: DistillConfig) -> list[str]:
    """A launcher's precision would be the student's without being in the run's record."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked in ("no", config.student_precision):
        return []
    return [
        f"--student-precision {config.student_precision}: the launcher asks for {asked} (accelerate launch "
        "--mixed_precision, or ACCELERATE_MIXED_PRECISION); give it `no`, or --student-precision the same"
    ]


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


def _check_outputs(outputs: str, black_box: bool, temperature: float = 1.0) -> list[str]:
    if outputs != "logits" and not black_box:
        return [f"--teacher-outputs {outputs}: a model with weights answers with logits; leave it out"]
    if outputs == "labels" and temperature != 1.0:
        return [
            f"--temperature {temperature}: labels alone (--teacher-outputs labels) have nothing to soften; leave it out"
        ]
    return []


def check_batch_size(config: DistillConfig, processes: int) -> list[str]:
    """Problems with sharing a batch among processes."""
    if config.batch_size % processes == 0:
        return []
    return [f"--batch-size {config.batch_size}: expected a multiple of the {processes} processes that share it"]


def _check_objective(config: DistillConfig, task: Task, black_box: bool) -> list[str]:
    problems = []
    if config.top_k is not None and config.top_k > task.num_labels:
        problems.append(f"--top-k {config.top_k}: expected at most the {task.num_labels} classes of {task.name}")
    if black_box and config.objective in ("kd-sim", "kd-pt+sim"):
        problems.append(
            f"--objective {config.objective}: a callable teacher shows no output layer to compare classes by; use "
            "kd or kd-pt"
        )
    if config.gold_labels is not None:
        problems += [f"--gold-labels: {problem}" for problem in check_header(task, config.gold_labels)]
        if config.perturb == "adversarial":
            problems.append(
                "--gold-labels: a generator rewrites rows, and their labels would not hold; leave out either"
            )
    elif config.gold_weight != DistillConfig.gold_weight:
        problems.append(
            f"--gold-weight {config.gold_weight}: expected labels to weigh (--gold-labels FILE), found none"
        )
    return problems


def _check_adversary(config: DistillConfig) -> list[str]:
    problems = []
    if config.fresh_share + config.replay_share > 1:
        problems.append(
            f"--fresh-share {config.fresh_share} and --replay-share {config.replay_share}: expected at most 1 together"
        )
    if config.generator_steps > config.student_steps:
        problems.append(
            f"--generator-steps {config.generator_steps}: expected at most the {config.student_steps} steps of a round "
            "(--student-steps)"
        )
    local = config.generator != "build" and is_local(config.generator)
    if local and not Path(config.generator).expanduser().is_dir():
        problems.append(f"--generator {config.generator}: expected a model folder or a Hub id, found no such folder")
    return problems


def _check_tracker(name: str) -> list[str]:
    if name not in ("none", *_TRACKERS):
        return [f"--report-to {name}: {nearest(name, ('none', *_TRACKERS))}"]
    if name != "none" and find_spec(_TRACKERS[name]) is None:
        return [f"--report-to {name}: expected the package {_TRACKERS[name]} to be installed, found none"]
    return []


def _check_cache(cache_dir: str | None) -> list[str]:
    blocked = blocking_file(cache_root(cache_dir))
    return [f"--cache-dir {cache_dir}: expected a folder, found the file {blocked}"] if blocked else []


def _check_glue(task: Task, glue_dir: str | None) -> list[str]:
    if glue_dir is None:
        return []
    files = task.glue_files(glue_dir)
    main = next(iter(files.values()))
    return [
        f"--glue-dir {glue_dir}: {problem}"
        for path in files.values()
        if path == main or path.exists()
        for problem in check_header(task, path)
    ]


def _check_finetune(config: FinetuneConfig, task: Task) -> list[str]:
    problems = []
    if config.glue_dir is None and not task.hub_config:
        problems.append("--glue-dir: expected the folder that holds train.tsv, found none")
    if config.glue_dir is not None:
        train = check_header(task, task.train_file(config.glue_dir))
        problems += [f"--glue-dir {config.glue_dir}: {problem}" for problem in train]
    if config.base != "embedded" and is_local(config.base):
        problems += check_local(config.base, "--base", config.max_length)
    if config.adapter is not None:
        if config.full:
            problems.append(f"--adapter {config.adapter}: an adapter is where an adapter starts from; leave out --full")
        needed = ("adapter_config.json", "adapter_model.safetensors")
        if not all((Path(config.adapter).expanduser() / name).is_file() for name in needed):
            problems.append(f"--adapter {config.adapter}: expected a folder with {' and '.join(needed)}, found none")
    output = Path(config.output_dir or f"runs/teacher-{task.name}")
    if blocked := blocking_file(output):
        problems.append(f"--output-dir {output}: expected a folder, found the file {blocked}")
    elif output.exists() and any(output.iterdir()):
        problems.append(f"--output-dir {output}: expected a new or empty folder, found files in it")
    return problems + _check_cache(config.cache_dir)


def _check_evaluate(config: EvaluateConfig, task: Task) -> list[str]:
    problems = []
    if not config.model:
        problems.append("--model: expected a folder or Hub id, found none")
    elif not is_callable_name(config.model):
        problems += check_classifier(task, config.model, config.label_map, "--model")
    problems += _check_outputs(config.teacher_outputs, is_callable_name(config.model))
    if not config.data:
        problems.append("--data: expected a labelled file, or `probe`; found none")
    elif config.data == "probe":
        if (probe := task.probe_path()) is None:
            problems.append(f"--data probe: no probe for {task.name} is packaged")
        else:
            problems += [f"--data probe: {problem}" for problem in check_header(task, probe)]
    else:
        problems += [f"--data: {problem}" for problem in check_header(task, config.data)]
    return problems


def _check_predict(config: PredictConfig, task: Task | None) -> list[str]:
    problems = []
    if not config.model:
        problems.append("--model: expected a run folder, a model folder or a Hub id, found none")
    elif task is None:
        if config.label_map:
            problems.append(f"--label-map {config.label_map}: names a task's labels; name the task with --task")
        if config.model in ("embedded", "default") or is_callable_name(config.model):
            problems.append(f"--model {config.model}: expected --task beside it, found none")
    if config.input != "-" and not Path(config.input).is_file():
        problems.append(f"--input {config.input}: expected a file, or - for standard input; found none")
    if config.output and Path(config.output).is_dir():
        problems.append(f"--output {config.output}: expected a file, found a folder")
    return problems + _check_cache(config.cache_dir)


def _check_diagnose(config: DiagnoseConfig, task: Task) -> list[str]:
    problems = []
    if not config.model:
        problems.append("RUN|TEACHER: expected a run folder, a model folder, a Hub id or `embedded`, found none")
    elif (run := run_config(config.model)) is not None:
        if find_task(run.task) != task:
            problems.append(f"--task {task.name}: the run in {config.model} is of {run.task}")
    elif config.model == "default" and not task.teacher:
        problems.append(f"RUN|TEACHER default: {task.name} names no teacher; give a folder or a Hub id")
    elif not is_callable_name(config.model):
        problems += check_classifier(task, config.model, config.label_map, "TEACHER", config.max_length)
    if run is None:
        problems += _check_outputs(config.teacher_outputs, is_callable_name(config.model))
    elif config.teacher_outputs != DiagnoseConfig.teacher_outputs:
        problems.append(f"--teacher-outputs {config.teacher_outputs}: the run in {config.model} says it; leave it out")
    if not config.corpus:
        problems.append("--corpus: expected files, folders, Hub data sets or `embedded`, found none")
    for name in config.corpus:
        problems += check_source(name)
    if config.data is not None:
        problems += [f"--data: {problem}" for problem in check_header(task, config.data)]
    return problems + _check_cache(config.cache_dir)
