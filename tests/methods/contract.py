"""The contract that every method keeps, as functions that raise AssertionError where one does not.

A new method joins with a `Subject` in `SUBJECTS`; tests/methods/test_contract.py does the rest.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from conftest import tiny_bert
from datasets import Dataset
from decided import LABELS, TEXTS, Judge, decided_teacher
from everything import NEUTRAL, Everything, EverythingOptions
from labelled_rows import prose
from transformers import AutoModelForSequenceClassification, TrainerCallback

from zskd import ZeroShotArguments, ZeroShotTrainer
from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.methods import (
    adversarial,
    anchors,
    backward_pass,
    class_balance,
    feature_prior,
    inconsistent,
    messages,
    roles,
    selection,
    uncertainty_mixup,
)
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.methods.anchors import AnchorsOptions
from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.config.methods.feature_prior import FeaturePriorOptions
from zskd.config.methods.inconsistent import InconsistentOptions
from zskd.config.methods.messages import MessagesOptions
from zskd.config.methods.roles import OPERATIONS, RolesOptions, schedule_of, teacher_until
from zskd.config.methods.selection import SelectionOptions
from zskd.config.methods.shares import asked_rows
from zskd.config.methods.spec import MethodSpec
from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions
from zskd.methods.adversarial.adversary import Adversarial
from zskd.methods.adversarial.candidates import CandidateAdversary
from zskd.methods.adversarial.generator import build_generator
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.anchors import Anchors
from zskd.methods.backward_pass import BackwardPass
from zskd.methods.class_balance import ClassBalance
from zskd.methods.feature_prior import FeaturePrior
from zskd.methods.inconsistent import Inconsistent
from zskd.methods.messages import Messages
from zskd.methods.method import MICRO, ROWS, Method
from zskd.methods.roles import Roles
from zskd.methods.selection import Selection
from zskd.methods.uncertainty_mixup import UncertaintyMixup
from zskd.models.loading import model_fingerprint
from zskd.system.files import sha256_file
from zskd.system.processes import gather
from zskd.teacher.classifier import Classifier
from zskd.transfer.collator import TransferCollator
from zskd.transfer.rows import encode
from zskd.transfer.transfer_set import TransferSet

STEPS, BATCH, LENGTH = 10, 16, 40
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Subject:
    """A method under test.

    Attributes:
        make: the method with its options, for a teacher.
        spec: what announces its queries.
        options: the setting that is tested, which has to change the student.
        neutral: with which it is on and changes nothing.
        inputs: labelled inputs; 64 are four whole batches.
        short: whether the last batch of an epoch may be short where a batch is split.
        of_micro: what is logged of micro-batches, and so depends on how a batch is split.
    """

    name: str
    make: Callable[[Any, Classifier], Method]
    spec: MethodSpec
    options: Any
    neutral: Any
    inputs: int = 64
    short: bool = True
    of_micro: tuple[str, ...] = ()

    def method(self, teacher: Classifier, neutral: bool = False) -> Method:
        torch.manual_seed(3)
        return self.make(self.neutral if neutral else self.options, teacher)

    @functools.cached_property
    def coupling(self) -> str | int:
        return self.method(decided_teacher()).coupling

    def announced(self) -> int:
        """Queries of `STEPS` steps, as they are known before anything loads."""
        rows = 100 * BATCH
        config: Any = DistillConfig(pool_size=rows, epochs=STEPS / 100, batch_size=BATCH)
        for name, value in vars(self.options).items():
            setattr(config, name, value)
        assert optimizer_steps(config, rows) == STEPS
        return self.spec.queries(config)


ADVERSARY = AdversarialOptions(
    generator_learning_rate=1e-3, adversarial_start=0.2, generator_steps=2, student_steps=3, fresh_share=0.25,
    replay_size=24, hard_share=0.5,
)  # fmt: skip
BY_ROWS = {"balance_weight": 0.0, "diversity_weight": 0.0}
# It takes part, but a batch of 16 has no room for a row of its.
NO_SHARE = {"fresh_share": 0.001, "replay_share": 0.0}


def by_gradient(options: AdversarialOptions, teacher: Classifier) -> Method:
    return Adversarial(GradientAdversary(build_generator(teacher), teacher, options))


def by_ranks(options: AdversarialOptions, teacher: Classifier) -> Method:
    return Adversarial(CandidateAdversary(build_generator(teacher), teacher.tokenizer, Judge(teacher), options))


def adversary(name: str, make: Callable[[Any, Classifier], Method], **changes: Any) -> Subject:
    options = replace(ADVERSARY, **changes)
    # A sum over the fresh rows is divided by as many as a full batch has (`Step.size`).
    neutral, seen = replace(options, **NO_SHARE), ("imbalance", "repetition", "changed", "distinct_1", "distinct_2")
    of_micro = tuple(f"adversarial/{name}" for name in seen)
    return Subject(name, make, adversarial.SPEC, options, neutral, short=False, of_micro=of_micro)


def everything(cls: type[Everything] = Everything, **changes: Any) -> Subject:
    """A subject for the method that uses every hook, or one made of it."""

    def queries(config: Any) -> int:
        return optimizer_steps(config, config.pool_size) * config.batch_size

    spec = MethodSpec("everything", "every hook", EverythingOptions, queries=queries)
    return Subject("everything", lambda o, teacher: cls(o), spec, EverythingOptions(**changes), NEUTRAL)


@dataclass(frozen=True)
class RoleSettings:
    """A schedule without a file."""

    schedule: Any
    roles_share: float = 0.25


OPERATIONS_OF_ALL = {name: [0.5, 0.2] for name in OPERATIONS}
BOTH = RoleSettings({"student": [{"until": 1.0, **OPERATIONS_OF_ALL}], "teacher": [{"until": 0.5, "mask": [1.0, 0.3]}]})
NOTHING = RoleSettings({"student": [{"until": 1.0, "mask": [1.0, 0.0]}], "teacher": [{"until": 1.0, "drop": [0.0, 1]}]})


def made_roles(settings: RoleSettings, teacher: Classifier) -> Method:
    return Roles(RolesOptions(roles_share=settings.roles_share), schedule=schedule_of(settings.schedule, "test"))


def queries_of_roles(config: Any) -> int:
    """As the method's own, which reads the schedule from a file."""
    return asked_rows(config, config.roles_share, teacher_until(schedule_of(config.schedule, "test")))


SUBJECTS = {
    subject.name: subject
    for subject in (
        adversary("gradient", by_gradient),
        adversary("gradient-rows", by_gradient, **BY_ROWS),
        adversary("ranks", by_ranks, adversary="candidates"),
        adversary("ranks-rows", by_ranks, adversary="candidates", **BY_ROWS),
        # More rows than `STEPS` batches have: the last batch of an epoch would not be whole.
        Subject(
            "class-balance", lambda o, teacher: ClassBalance(o), class_balance.SPEC,
            ClassBalanceOptions(max_class_share=0.34), ClassBalanceOptions(max_class_share=1.0), inputs=192,
        ),
        Subject(
            "anchors", lambda o, teacher: Anchors(o), anchors.SPEC,
            AnchorsOptions(anchors_share=0.25), AnchorsOptions(anchors_text=1.0),
        ),
        Subject(
            "backward-pass", lambda o, teacher: BackwardPass(o), backward_pass.SPEC,
            BackwardPassOptions(backward_share=0.25, backward_steps=2), BackwardPassOptions(backward_share=0.0),
        ),
        Subject(
            "inconsistent", lambda o, teacher: Inconsistent(o), inconsistent.SPEC,
            InconsistentOptions(inconsistent_share=0.25, inconsistent_noise=0.5, inconsistent_weight=1.0),
            InconsistentOptions(inconsistent_share=0.0),
        ),
        Subject(
            "uncertainty-mixup", lambda o, teacher: UncertaintyMixup(o), uncertainty_mixup.SPEC,
            UncertaintyMixupOptions(mixup_share=0.75), UncertaintyMixupOptions(mixup_share=0.0),
        ),
        Subject(
            "feature-prior", lambda o, teacher: FeaturePrior(o), feature_prior.SPEC,
            FeaturePriorOptions(prior_share=0.5, prior_weight=1.0, prior_width=16),
            FeaturePriorOptions(prior_weight=0.0),
        ),
        Subject(
            "messages", lambda o, teacher: Messages(o), messages.SPEC,
            MessagesOptions(messages_share=0.25, messages_rounds=1, messages_width=12, messages_reply_weight=1.0),
            MessagesOptions(
                messages_reply_weight=0.0, messages_agreement_weight=0.0, messages_state_weight=0.0,
            ),
        ),
        Subject(
            "selection", lambda o, teacher: Selection(o), selection.SPEC,
            SelectionOptions(selection_keep=0.5, selection_contrast=1.0),
            SelectionOptions(selection_keep=1.0, selection_classifier="own", selection_contrast=0.0),
        ),
        Subject(
            "selection-rows", lambda o, teacher: Selection(o), selection.SPEC,
            SelectionOptions(selection_keep=0.5, selection_contrast=0.0),
            SelectionOptions(selection_keep=1.0, selection_classifier="own", selection_contrast=0.0),
        ),
        Subject("roles", made_roles, replace(roles.SPEC, queries=queries_of_roles), BOTH, NOTHING),
        everything(),
    )
}  # fmt: skip


# Runs


def without_dropout(model: torch.nn.Module) -> Any:
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model


def labelled(teacher: Classifier, count: int) -> TransferSet:
    """The first inputs with the teacher's logits."""
    texts = TEXTS[:count] if count <= len(TEXTS) else prose(count)
    encoded = teacher.tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    with torch.no_grad():
        logits = teacher.in_task_order(teacher.model(**encoded).logits).numpy()
    rows = {"text": texts, "family": ["span"] * count, "teacher_logits": logits.tolist()}
    return TransferSet.of(Dataset.from_dict(rows), logits, LABELS, seed=0)


def trainer(
    folder: Path,
    methods: list[Method],
    teacher: Classifier,
    *,
    inputs: int = 64,
    dropout: bool = False,
    callbacks: Any = None,
    **changes: Any,
) -> ZeroShotTrainer:
    """A trainer for rows that went through the methods' `transfer_set`; 16 rows a step unless it is told otherwise."""
    chosen = plain = labelled(teacher, inputs)
    for method in methods:
        chosen = method.transfer_set(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": chosen.dataset(), "select": plain.dataset().select(range(16))}
    data = {name: encode(rows, teacher.tokenizer, LENGTH, folder / f"{name}.arrow") for name, rows in parts.items()}
    student = tiny_bert(len(teacher.tokenizer), LABELS, hidden=16, seed=2)
    options = {
        "max_steps": STEPS, "per_device_train_batch_size": BATCH, "learning_rate": 1e-3, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True, "weight_decay": 0.01,
        "ddp_find_unused_parameters": False, "dataloader_pin_memory": False, **changes,
    }  # fmt: skip
    return ZeroShotTrainer(
        student if dropout else without_dropout(student),
        ZeroShotArguments(**{"output_dir": str(folder / "run"), **options}),
        methods=methods,
        teacher=teacher,
        train_dataset=data["train"],
        eval_dataset=data["select"],
        processing_class=teacher.tokenizer,
        data_collator=TransferCollator(0),
        callbacks=callbacks,
    )


def made_for(subject: Subject | None, folder: Path, *, neutral: bool = False, **changes: Any) -> ZeroShotTrainer:
    """A trainer with a subject's method, or with none."""
    teacher = decided_teacher()
    methods = [subject.method(teacher, neutral)] if subject is not None else []
    return trainer(folder, methods, teacher, **({"inputs": subject.inputs} if subject is not None else {}) | changes)


@dataclass(frozen=True)
class Trace:
    """What a run leaves that has to be the same however its batches were split.

    Attributes:
        logs: all numbers that were logged.
        modules: weights of the methods' modules.
        logits: of the stock student.
        queries: that the methods counted.
    """

    logs: list[dict[str, float]]
    modules: dict[str, list[float]]
    logits: list[list[float]]
    queries: int


def trained(made: ZeroShotTrainer) -> Trace:
    """Train and look."""
    made.train()
    return trace(made)


def trace(made: ZeroShotTrainer) -> Trace:
    times = ("runtime", "per_second", "flos", "epoch")
    logs = [
        {name: float(value) for name, value in entry.items() if not any(word in name for word in times)}
        for entry in made.state.log_history
    ]
    modules = {
        f"{method}.{name}.{key}": weight.ravel().tolist()
        for method, found in made.seam.modules.of.items()
        for name, module in found.items()
        for key, weight in module.state_dict().items()
    }
    return Trace(logs, modules, logits_of(made), sum(method.queries for method in made.seam.methods))


def logits_of(made: ZeroShotTrainer) -> list[list[float]]:
    """The student's own logits for the held-out rows."""
    assert made.data_collator is not None and isinstance(made.eval_dataset, Dataset)
    batch = made.data_collator(list(made.eval_dataset))
    student = made.accelerator.unwrap_model(made.model).eval()
    with torch.no_grad():
        return student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.tolist()


def assert_alike(one: Trace, other: Trace, but: tuple[str, ...] = ()) -> None:
    """Two traces that differ by rounding at most, `but` for what is logged under these names."""
    assert one.queries == other.queries and len(one.logs) == len(other.logs)
    for left, right in zip(one.logs, other.logs, strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - set(but):
            np.testing.assert_allclose(right[name], left[name], rtol=TOLERANCE, atol=1e-6, err_msg=f"{name}, {left}")
    assert one.modules.keys() == other.modules.keys()
    for name, weights in one.modules.items():
        np.testing.assert_allclose(other.modules[name], weights, rtol=TOLERANCE, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(other.logits, one.logits, rtol=10 * TOLERANCE, atol=1e-5)


# 1. Splits


def check_accumulation(subject: Subject, folder: Path) -> None:
    """A batch split over micro-batches trains like the whole, with a last group that has fewer of them."""
    inputs = subject.inputs - 8 * subject.short
    one = trained(made_for(subject, folder / "whole", inputs=inputs))
    split = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert_alike(one, trained(made_for(subject, folder / "parts", inputs=inputs, **split)), subject.of_micro)


# 2. Resuming


class Watch(TrainerCallback):
    """The steps that a trainer made."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step)


def fingerprints(made: ZeroShotTrainer, folder: Path) -> dict[str, str]:
    """Everything a run has to leave bit for bit; modules, states and the epoch's rows as a checkpoint has them."""
    folder.mkdir(parents=True)
    made.seam.save(folder)
    torch.save(made.optimizer.state_dict(), folder / "optimizer-of-trainer.pt")
    files = {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    return {**files, "student": model_fingerprint(made.model), "random": str(torch.get_rng_state().sum().item())}


def check_resume(subject: Subject, folder: Path, starts: tuple[int, ...] = (3, 4, 6)) -> None:
    """A run from a checkpoint is the one that was never stopped: within, at the end and within a second epoch."""
    saving = {"save_strategy": "steps", "save_steps": math.gcd(*starts), "dropout": True}
    whole = made_for(subject, folder, **saving)
    assert subject.inputs != 64 or len(whole.train_dataset) == 4 * BATCH
    whole.train()
    expected = fingerprints(whole, folder / "expected")
    history = trace(whole).logs
    for start in starts:
        watch = Watch()
        resumed = made_for(subject, folder, callbacks=[watch], **{**saving, "save_strategy": "no"})
        resumed.train(resume_from_checkpoint=str(folder / "run" / f"checkpoint-{start}"))
        assert watch.steps == list(range(start, STEPS))
        assert fingerprints(resumed, folder / f"from-{start}") == expected
        assert trace(resumed).logs[:-1] == history[:-1]  # the last says how long this process took
        for method in resumed.seam.methods:
            if isinstance(method, Everything):
                assert method.epochs == list(range(-(-start // 4), -(-STEPS // 4))), "the epoch that goes on has rows"


# 3. Queries


@contextmanager
def counting(teacher: Classifier) -> Iterator[list[int]]:
    """Rows of all forward passes of the teacher, whoever asks it, through whatever entry."""
    rows: list[int] = []
    head: Any = teacher.model.classifier
    handle = head.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    yield rows
    handle.remove()


def check_queries(subject: Subject, folder: Path) -> None:
    """What was announced is what was asked, and what the method says that it asked."""
    teacher = decided_teacher()
    made = trainer(folder, [subject.method(teacher)], teacher, inputs=subject.inputs)
    with counting(teacher) as rows:
        made.train()
    counted = made.seam.methods[0].queries
    assert sum(rows) == counted == subject.announced(), (sum(rows), counted, subject.announced())
    if made.seam.teacher is not None:
        assert made.seam.teacher.queries == counted


# 4. What is left


class AtTheEnd(TrainerCallback):
    """What a callback sees of the student at the end of training."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.seen.append(model_fingerprint(model))


def check_stock(subject: Subject, folder: Path) -> None:
    """The saved student is stock and the best one, with the modules of its step, before any callback sees it."""
    best = {
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
        "load_best_model_at_end": True, "metric_for_best_model": "loss", "per_device_eval_batch_size": 16,
    }  # fmt: skip
    callback = AtTheEnd()
    made = made_for(subject, folder, callbacks=[callback], **best)
    # The best step is the first evaluated one, so that it is not where training ends.
    evaluate = made.evaluate

    def rising(*args: Any, **kwargs: Any) -> dict[str, float]:
        found = evaluate(*args, **kwargs)
        evaluations.append(found["eval_loss"])
        return {**found, "eval_loss": float(len(evaluations))}

    evaluations: list[float] = []
    made.evaluate = rising
    made.train()
    assert made.state.best_global_step == 2 and callback.seen == [model_fingerprint(made.model)]
    for method, modules in made.seam.modules.of.items():
        before = {f"{name}.{key}": v.clone() for name, m in modules.items() for key, v in m.state_dict().items()}
        made.seam.load_modules(folder / "run" / "checkpoint-2")
        after = {f"{name}.{key}": v for name, m in modules.items() for key, v in m.state_dict().items()}
        assert all(torch.equal(before[name], after[name]) for name in after), method
    # Stock: the same answers without the methods, from a file that holds a stock model and nothing else.
    made.save_model(str(folder / "student"))
    loaded, info = AutoModelForSequenceClassification.from_pretrained(folder / "student", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    assert type(loaded) is type(tiny_bert(10, LABELS)) and model_fingerprint(loaded) == model_fingerprint(made.model)
    stock = tiny_bert(len(decided_teacher().tokenizer), LABELS, hidden=16).state_dict().keys()
    assert made.model.state_dict().keys() == stock
    np.testing.assert_allclose(evaluate()["eval_loss"], evaluations[0], rtol=1e-5)


# 5. Neutral and strong


def check_neutral(subject: Subject, folder: Path) -> None:
    """The neutral setting, which is on, leaves the plain run's student bit for bit; the tested one another."""

    def student(which: str, **changes: Any) -> str:
        made = made_for(subject, folder / which, dropout=True, **changes)
        made.train()
        return model_fingerprint(made.model)

    plain = plain_student(subject.inputs, folder)
    assert student("neutral", neutral=True) == plain, "the neutral setting changes the student"
    assert student("strong") != plain, "the method changes nothing"


_plain: dict[int, str] = {}


def plain_student(inputs: int, folder: Path) -> str:
    """The student without a method; trained once in a process."""
    if inputs not in _plain:
        made = made_for(None, folder / "plain", inputs=inputs, dropout=True)
        assert not made.seam
        made.train()
        _plain[inputs] = model_fingerprint(made.model)
    return _plain[inputs]


# Two processes


def splits(subject: Subject) -> dict[str, dict[str, int]]:
    """How two processes may split a batch of 16, in the method's own coupling; none where the trainer refuses that."""
    if subject.coupling == MICRO and not subject.method(decided_teacher()).splits:
        return {}
    found = {"8": {"per_device_train_batch_size": 8}}
    if subject.coupling == ROWS or isinstance(subject.coupling, int):
        found["4x2"] = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    return found


def in_both_processes(folder: Path) -> dict[str, Any]:
    """What is done in each of two processes; the answer is the same in both, or says that it is not.

    Returns:
        By subject and split: the trace. ``alike``: whether both processes have the same student. ``resumed``: whether a
        resumed run is the one that was never stopped. ``best``: the best step, which is the last. ``muon``: the trace
        with that optimizer and no method.
    """
    own = folder / f"process-{PartialState().process_index}"
    found: dict[str, Any] = {"alike": True}
    for name, subject in SUBJECTS.items():
        for split, changes in splits(subject).items():
            made = made_for(subject, own / name / split, **changes)
            found[f"{name} {split}"] = vars(trained(made))
            found["alike"] &= len(set(gather(model_fingerprint(made.model)))) == 1
    subject, shared = (
        SUBJECTS["everything"],
        {"output_dir": str(folder / "run"), **splits(SUBJECTS["everything"])["4x2"]},
    )
    whole = made_for(subject, own / "whole", save_strategy="steps", save_steps=6, **shared)
    whole.train()
    resumed = made_for(subject, own / "resumed", **shared)
    resumed.train(resume_from_checkpoint=str(folder / "run" / "checkpoint-6"))
    prints = [fingerprints(made, own / f"prints-{i}") for i, made in enumerate((whole, resumed))]
    found["resumed"] = prints[0] == prints[1] and resumed.seam.methods[0].epochs == [2]
    found["best"] = best_is_last(folder, own)
    found["muon"] = vars(trained(made_for(None, own / "muon", per_device_train_batch_size=8, optimizer="muon")))
    return found


def best_is_last(folder: Path, own: Path) -> bool:
    """Whether all processes end with the best step's modules where it is the last and the first one writes slowly."""
    settings = {
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "max_steps": 2,
        "load_best_model_at_end": True, "metric_for_best_model": "loss", "per_device_train_batch_size": 8,
    }  # fmt: skip
    made = made_for(SUBJECTS["everything"], own / "best", output_dir=str(folder / "best"), **settings)
    save = made.seam.save

    def slow(checkpoint: Path, *, main: bool = True) -> None:
        time.sleep(1)
        save(checkpoint, main=main)

    made.seam.save = slow  # type: ignore[method-assign]
    made.train()
    return made.state.best_global_step == 2 and len(set(gather(model_fingerprint(made.model)))) == 1
