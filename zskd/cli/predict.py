"""`zskd predict`: label and probabilities for every line of text."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from zskd.checks import check_cache_dir, check_options, check_output
from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.limits import limit_problems, within_limits
from zskd.config.verbs import PredictConfig
from zskd.errors import InputError
from zskd.hub.ask import is_callable_name
from zskd.models.backbones import PACKAGED
from zskd.models.folder_checks import check_length, run_folder
from zskd.runs.read import run_config
from zskd.system.paths import found_at, is_file
from zskd.tasks.task import Task

EPILOG = """examples:
  zskd predict --model runs/first --input reviews.txt --output answers.tsv
      one text a line
  zskd predict --model runs/qnli/student --input questions.tsv --json
      question, tab, passage
  tail -f reviews.txt | zskd predict --model my-user/my-student
      answers appear as lines arrive
  zskd predict --model runs/first --input reviews.txt --min-agreement 0.95 --teacher embedded
      the student answers where it agrees with the teacher on 95 % of held-out text, the teacher the rest

The input has no header. The number of texts that a model reads comes from its config.json if zskd made it, from its run
folder, or from --task; otherwise the first line decides. An empty line counts as an empty text, so that input and
output lines correspond."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("predict", help="label and probabilities for every line of a file", epilog=EPILOG)
    add_options(parser, PredictConfig)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer as lines arrive."""
    config = build_config(arguments, PredictConfig, problems)
    set_up_logging(quiet=arguments.quiet)
    from zskd.inference.deferral import Deferral, proven_threshold
    from zskd.inference.predict import predict
    from zskd.inference.saved import load_saved
    from zskd.system.files import output_file

    least = config.min_agreement
    threshold = None if least is None else proven_threshold(config.model, least)  # before weights are loaded
    saved = load_saved(
        config.model,
        flag="--model",
        task_name=config.task,
        label_map=config.label_map,
        max_length=config.max_length,
        cache_dir=config.cache_dir,
    )
    deferral = None if threshold is None else Deferral(threshold, _teacher(config, saved), saved.max_length)
    stream: Any  # typeshed's type of standard input lacks `read1`
    target: TextIO
    with ExitStack() as stack:
        if config.input == "-":
            stream, name = sys.stdin.buffer, "standard input"
        else:
            stream, name = stack.enter_context(Path(config.input).open("rb")), config.input
        if config.output:
            path = stack.enter_context(output_file(config.output))
            target = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        else:
            target = sys.stdout

        def write(lines: str) -> None:
            target.write(lines)
            target.flush()

        try:
            predict(
                saved,
                stream,
                write,
                name=name,
                batch_size=config.batch_size,
                precision=saved.classifier.precision(config.precision),
                as_json=config.json,
                deferral=deferral,
            )
        except BrokenPipeError:
            # The reader has closed the pipe (`| head`). The rest of the buffer must not be written at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _teacher(config: PredictConfig, saved: Any) -> Any:
    """Who answers what the student does not, on the student's task; None without ``--teacher``.

    What the run had to be told of its teacher (label names, commit, what a callable answers with) is known for the same
    one.
    """
    if config.teacher is None:
        return None
    from zskd.config.resolve import cache_root
    from zskd.teacher.load import load_teacher

    if saved.task is None:
        raise InputError(f"--teacher {config.teacher}: expected a run of a known task as --model; name it with --task")
    run = run_config(str(run_folder(config.model)))
    known = run if run is not None and run.teacher == config.teacher else DistillConfig()
    cache = cache_root(config.cache_dir)
    return load_teacher(
        saved.task, config.teacher, cache, known.teacher_revision, known.label_map, outputs=known.teacher_outputs
    )


def problems(config: PredictConfig) -> list[str]:
    """Problems with the options, found before anything loads. A task is not required."""
    if not config.task:
        return limit_problems(config) + _problems(within_limits(config), None)
    return check_options(config, _problems)


def _problems(config: PredictConfig, task: Task | None) -> list[str]:
    found = []
    if not config.model:
        found.append("--model: expected a run folder, a model folder or a Hub id, found none")
    elif task is None:
        if config.label_map:
            found.append(f"--label-map {config.label_map}: expected --task with it, whose labels the map names")
        if config.model in (*PACKAGED, "default") or is_callable_name(config.model):
            found.append(f"--model {config.model}: expected --task with it, found none")
    if config.model and not is_callable_name(config.model):
        found += check_length(config.model, "--model", config.max_length)
    if config.teacher is not None and config.min_agreement is None:
        found.append(f"--teacher {config.teacher}: expected --min-agreement with it, found none")
    if config.input != "-" and not is_file(config.input):
        found.append(
            f"--input {config.input}: expected a file, or - for standard input; found {found_at(config.input)}"
        )
    elif config.input == "-" and sys.stdin is None:
        found.append("--input -: expected lines on standard input, found it closed; name a file")
    if not config.output and sys.stdout is None:
        found.append("--output: standard output is closed; name a file")
    return found + check_output(config.output) + check_cache_dir(config.cache_dir)
