"""Training a teacher from labelled rows: a LoRA adapter by default, all weights on request.

The checkpoint is chosen on held-out rows of the training file. The dev file is read once, after that.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.cost import fast, slow
from zskd.config.resolve import cache_root, to_dict
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError, RunError
from zskd.evaluation.scoring import evaluate_rows
from zskd.hub.glue_rows import hub_rows
from zskd.models.adapters import new_adapter, save_adapter, start_from
from zskd.models.encoding import Cuts, encode_texts
from zskd.models.labels import record_texts
from zskd.models.lengths import record_length, save_tokenizer
from zskd.models.loading import backbone_origin, load_head
from zskd.models.positions import length_problem
from zskd.models.tokenizers import load_tokenizer
from zskd.system.files import replacing, write_text
from zskd.system.os_faults import keeping
from zskd.system.paths import expanded
from zskd.system.precision import pick_precision
from zskd.system.seeds import Stream, seed_of
from zskd.tasks.defaults import input_length, with_task_defaults
from zskd.tasks.labelled import Labelled, check_classes, check_header, read_labelled
from zskd.tasks.phrases import split_rows
from zskd.tasks.task import Task, find_task
from zskd.teacher.classifier import check_fit, load_classifier, pick_device

logger = logging.getLogger(__name__)

NO_GLUE_DIR = "--glue-dir (none given)"  # name of the Hub's rows in messages


@dataclass(frozen=True)
class Finetuned:
    """Result of `finetune`: the folder, and the record that is also written to ``training.json`` in it."""

    folder: Path
    record: dict[str, Any]


def _encode(rows: Labelled, tokenizer: PreTrainedTokenizerBase, cuts: Cuts, stage: str) -> Dataset:
    found = encode_texts(tokenizer, rows.texts, cuts.max_length)
    cuts.add(found, len(rows.labels))
    cuts.tell(stage, "rows")
    encoded = dict(found)
    encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "labels": rows.labels})


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}


class _ClassifierTrainer(Trainer):
    """A Trainer whose loss is the mean over the micro-batch, independent of accumulation."""

    loss_is_scaled_for_ga = False

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = torch.nn.functional.cross_entropy(outputs.logits.float(), labels)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss


class Snapshots(TrainerCallback):
    """Keeps the trained weights of every evaluation, with the accuracy on the selection rows."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.accuracies: list[float] = []

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        model: torch.nn.Module,
        **kwargs: Any,
    ) -> None:
        """Copy the trainable weights."""
        self.weights.append({n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad})
        self.accuracies.append(metrics["eval_accuracy"])


def choose_weights(trainer: Trainer, snapshots: Snapshots) -> dict[str, float]:
    """Put the weights that do best on the selection rows into the trainer's model.

    Candidates are the best single evaluation and the means of the last 2, 4, ... evaluations. A mean of weights along
    one run is often better than any of them, and depends less on chance if there are few selection rows.

    Returns:
        Selection accuracy per candidate, broadest mean first, so that the first maximum is the one chosen.
    """
    trainer.remove_callback(snapshots)
    single = max(range(len(snapshots.weights)), key=snapshots.accuracies.__getitem__)
    candidates = {"best evaluation": snapshots.weights[single]}
    count = 2
    while count <= len(snapshots.weights):
        last = snapshots.weights[-count:]
        mean = {name: torch.stack([weights[name] for weights in last]).mean(dim=0) for name in last[0]}
        candidates = {f"mean of last {count}": mean, **candidates}
        count *= 2
    scores = {}
    for name, weights in candidates.items():
        trainer.model.load_state_dict(weights, strict=False)
        scores[name] = float(trainer.evaluate()["eval_accuracy"])
    trainer.model.load_state_dict(candidates[max(scores, key=lambda name: scores[name])], strict=False)
    return scores


def _training_precision(asked: str) -> str:
    precision = pick_precision(asked, device := pick_device())
    if precision == "fp16" and device.type != "cuda":
        raise InputError(
            f"--precision fp16: expected a CUDA device to train on, found {device.type}; use --precision bf16, fp32 or "
            "auto"
        )
    return precision


def finetune(config: FinetuneConfig) -> Finetuned:
    """Train a classifier on a task in GLUE's layout and save it with a record of how it was made.

    Raises:
        InputError: files or backbone are not usable, all rows are of one class, the backbone cannot read inputs of
            ``max_length`` tokens, or this device cannot train in the precision. If it is the dev file, the teacher is
            kept, with a record without scores, and the message says how to score it.
        RunError: training ended in weights that are no numbers.
    """
    config = with_task_defaults(config)
    precision = _training_precision(config.precision)
    task = find_task(config.task)
    output = Path(config.output_dir or f"runs/teacher-{task.name}")
    cache = cache_root(config.cache_dir)
    if config.glue_dir is None:
        rows = hub_rows(task, "train", flag=NO_GLUE_DIR)
    else:
        rows = read_labelled(task, task.train_file(config.glue_dir), skip_bad_rows=config.skip_bad_rows)
    train, selection = split_rows(rows, config.selection_rows, config.max_rows, config.seed)
    source = NO_GLUE_DIR if config.glue_dir is None else str(task.train_file(config.glue_dir))
    if not train.labels or not selection.labels:
        raise InputError(
            f"{source}: expected rows to train on, and up to a fifth of other texts to choose the checkpoint; found "
            f"{len(train.labels)} and {len(selection.labels)} in {len(rows.labels)} row(s); a text that is equal to "
            "one of the latter or part of it is not trained on; add rows"
        )

    check_classes(task, train, source)
    steps = max(1, round(config.epochs * len(train.labels) / config.batch_size))
    shown = f"--epochs {config.epochs:g}, --batch-size {config.batch_size}"
    for line in slow(shown, steps) + fast("--learning-rate", config.learning_rate):
        logger.warning(line)

    set_seed(seed_of(Stream.START, config.seed))
    origin = backbone_origin(config.base, cache, flag="--base")
    names = dict(enumerate(task.labels))
    head = {"num_labels": task.num_labels, "id2label": names, "label2id": {v: k for k, v in names.items()}}
    model, new = load_head(origin, flag="--base", new_head=head)
    record_texts(model.config, task)
    tokenizer = load_tokenizer(origin, flag="--base")
    check_fit(model, tokenizer, shown=f"--base {config.base}")
    length = input_length(config)
    if problem := length_problem(model.config.to_dict(), tokenizer.model_max_length, f"--base {config.base}", length):
        raise InputError(problem)
    record_length(model.config, length)
    cuts = {"training": Cuts(length), "selection": Cuts(length)}
    if not config.full:
        model = new_adapter(model, config.rank, new)
        if config.adapter:
            start_from(model, expanded(config.adapter))
    every = max(1, steps // config.checkpoints)
    work = output.parent / f".{output.name}.training"
    arguments = TrainingArguments(
        output_dir=str(work),
        learning_rate=config.learning_rate,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=128,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        eval_strategy="steps",
        save_strategy="no",
        eval_steps=every,
        logging_steps=max(1, every // 4),
        train_sampling_strategy="group_by_length",
        seed=config.seed,
        report_to="none",
    )
    trainer = _ClassifierTrainer(
        model,
        arguments,
        train_dataset=_encode(train, tokenizer, cuts["training"], "training"),
        eval_dataset=_encode(selection, tokenizer, cuts["selection"], "selection"),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=_accuracy,
        callbacks=[snapshots := Snapshots()],
    )
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    try:
        trainer.train()
        chosen = choose_weights(trainer, snapshots)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    seconds = time.perf_counter() - started
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise RunError(
            f"training: expected finite weights, found NaN or infinity after {trainer.state.global_step} steps; lower "
            f"--learning-rate {config.learning_rate:g}; nothing was kept"
        )
    record: dict[str, Any] = {
        "task": task.name,
        "options": {
            k: v for k, v in to_dict(config).items() if k not in ("glue_dir", "output_dir", "cache_dir", "adapter")
        },
        "started_from": Path(config.adapter).name if config.adapter else None,
        "training_rows": len(train.labels),
        "selection_rows": len(selection.labels),
        "skipped_rows": rows.skipped,
        "selection_accuracy": {name: round(value, 4) for name, value in chosen.items()},
        "chosen": max(chosen, key=lambda name: chosen[name]),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),
        "max_length": length,
        "cut": {name: counted.cut for name, counted in cuts.items()},
    }
    with replacing(output) as temporary:
        temporary.mkdir()
        if config.full:
            model.save_pretrained(temporary)
            save_tokenizer(tokenizer, model.config, temporary)
        else:
            save_adapter(model, temporary, config.base)
        _write_record(temporary, record)  # so that a teacher has one, whatever ends the scoring
    kept = f"the teacher is finished and kept in {output}"
    with keeping(kept):
        try:
            record["scores"], cut = _score(task, config, output, cache)
            record["cut"] |= cut
        except InputError as error:
            how = f"`zskd evaluate --model {output} --task {config.task} --data FILE.tsv`"
            raise InputError([*error.problems, f"{kept}; score it with {how}"]) from error
        finally:
            _write_record(output, record)
    return Finetuned(output, record)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    write_text(folder / "training.json", json.dumps(record, indent=2) + "\n")


def _score(
    task: Task, config: FinetuneConfig, folder: Path, cache: Path
) -> tuple[dict[str, Any], dict[str, int | None]]:
    """Scores of the saved teacher on the probe and the dev file, as far as they exist, and how many rows were cut."""
    teacher = load_classifier(task, str(folder), cache, flag="--output-dir")
    if config.glue_dir is None:
        files = {"probe": task.probe_path()}
        sets = {name: hub_rows(task, split, flag=NO_GLUE_DIR) for name, split in task.hub_splits.items()}
    else:
        files = {"probe": task.probe_path(), **task.glue_files(config.glue_dir)}
        sets = {}
    present = {name: path for name, path in files.items() if path is not None and not check_header(task, path)}
    skip = config.skip_bad_rows
    sets = {name: read_labelled(task, path, skip_bad_rows=skip) for name, path in present.items()} | sets
    cuts = {name: Cuts(input_length(config)) for name in sets}
    scores = {
        name: evaluate_rows(task, rows, teacher, input_length(config), "fp32", cuts[name])
        | ({"skipped_rows": rows.skipped} if rows.skipped else {})
        for name, rows in sets.items()
    }
    for name, counted in cuts.items():
        counted.tell(f"scoring, {name}", "rows")
    return scores, {name: counted.cut for name, counted in cuts.items()}
