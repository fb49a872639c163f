"""A card's metadata: what the Hub shows and searches."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from zskd.errors import InputError
from zskd.publish.origins import corpus_parts, student_origin, teacher_name
from zskd.runs.read import FinishedRun
from zskd.tasks.task import HUB_DATA, TASKS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData

PIPELINE = "text-classification"
PROBE = "probe"


def evaluation_name(run: FinishedRun, name: str) -> str:
    """Name of an evaluation set in a card."""
    task = run.task
    if name == PROBE:
        return f"probe of {task['name']}"
    if not task["hub_config"]:
        return f"{task['name']}, {PurePath(task['dev_files'][name]).name}"
    if _from_hub(run):
        return f"GLUE {task['name']}, {task['hub_splits'][name]}"
    return f"GLUE {task['name']}, {PurePath(task['dev_files'][name]).name}"


def _from_hub(run: FinishedRun) -> bool:
    """True if the labelled rows come from `HUB_DATA`, not from a file of the user."""
    return bool(run.config["hub_eval"] and run.config["glue_dir"] is None)


def _dataset(run: FinishedRun, name: str) -> dict[str, Any]:
    task, words = run.task, {"dataset_name": evaluation_name(run, name)}
    if name == PROBE:
        return words | {"dataset_type": "zskd-probe", "dataset_config": task["name"]}
    if task["hub_config"]:
        split = {"dataset_config": task["hub_config"], "dataset_split": task["hub_splits"][name]}
        return words | split | {"dataset_type": HUB_DATA if _from_hub(run) else "glue"}
    return words | {"dataset_type": task["name"], "dataset_split": name}


def evaluation_results(run: FinishedRun) -> list[EvalResult]:
    """The student's scores in the form of ``model-index``: shares of 1, as in ``metrics.json``."""
    from huggingface_hub import EvalResult

    titles = {"accuracy": "Accuracy", "f1": "F1"}
    found = [
        EvalResult(
            task_type=PIPELINE,
            metric_type=metric,
            metric_name=titles[metric],
            metric_value=scores[metric],
            **_dataset(run, name),
        )
        for name, scores in run.metrics["student"]["scores"].items()
        for metric in titles
        if metric in scores
    ]
    agreement = EvalResult(
        task_type=PIPELINE,
        dataset_type="held-out-text",
        dataset_name="held-out text unrelated to the task",
        metric_type="agreement",
        metric_name="Agreement with the teacher",
        metric_value=run.metrics["agreement"],
    )
    return [*found, agreement]


def evaluation_entries(run: FinishedRun) -> list[EvalResultEntry]:
    """The scores on `HUB_DATA` in the form of ``.eval_results/*.yaml``.

    Raises:
        InputError: this run was not scored on it.
    """
    from huggingface_hub import EvalResultEntry

    if not (run.task["hub_config"] and _from_hub(run)):
        raise InputError(f"--eval-results: {run.path} was not scored on {HUB_DATA} (--hub-eval); leave the flag out")
    several = len(run.task["hub_splits"]) > 1
    return [
        EvalResultEntry(
            dataset_id=HUB_DATA,
            task_id=run.task["hub_config"] + (f"_{split.removeprefix('validation_')}" if several else ""),
            value=run.metrics["student"]["scores"][name]["accuracy"],
            notes=f"accuracy on {split}; zero-shot distillation with zskd",
        )
        for name, split in run.task["hub_splits"].items()
        if name in run.metrics["student"]["scores"]
    ]


def card_data(run: FinishedRun, model_name: str, licence: str | None) -> ModelCardData:
    """The metadata of a run's card.

    Args:
        model_name: the repository's name.
        licence: as the Hub spells it; None states none.
    """
    from huggingface_hub import ModelCardData

    teacher, task = run.record["teacher"], run.task
    datasets = dict.fromkeys(name.partition(":")[0] for kind, name, _ in corpus_parts(run) if kind == "hub")
    kind = "zero-shot-distillation" if run.metrics["zero_shot"]["enforced"] else "in-domain-distillation"
    tags = [kind, "knowledge-distillation", "zskd", task["name"]]
    return ModelCardData(
        model_name=model_name,
        base_model=student_origin(run),
        datasets=list(datasets) or None,
        language="en" if TASKS.get(task["name"]) is not None and task["hub_config"] else None,
        library_name="transformers",
        license=licence,
        metrics=list(task["metrics"]),
        pipeline_tag=PIPELINE,
        tags=[*tags, f"teacher:{teacher_name(run)}"] if teacher["revision"] else tags,
        eval_results=evaluation_results(run),
    )
