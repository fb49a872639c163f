"""`zskd finetune`: train a teacher from labelled rows."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zskd.checks import check_cache_dir, check_options, check_output_dir
from zskd.cli.parser import add_json, add_options, add_quiet, build_config, set_up_logging
from zskd.config.limits import flag
from zskd.config.verbs import FinetuneConfig
from zskd.hub.ask import is_callable_name, is_local
from zskd.models.backbones import known_backbone
from zskd.models.folder_checks import check_classifier, check_local
from zskd.runs.training_folder import RECORD, output_path, training_problems
from zskd.system.paths import exists, expanded, is_file
from zskd.tasks.labelled import check_header
from zskd.tasks.task import Task

EPILOG = """examples:
  zskd finetune --task sst2 --glue-dir glue_data --base embedded --output-dir runs/teacher-sst2
      a LoRA adapter on the embedded backbone
  zskd finetune --task mrpc --glue-dir glue_data --full --learning-rate 3.0e-5
      all weights
  zskd finetune --task rte --glue-dir glue_data --base embedded --adapter runs/teacher-mnli
      an adapter that starts from another task's
  zskd finetune --task mnli --glue-dir glue_data --undistillable embedded
      a teacher that keeps its accuracy and spoils its students

The checkpoint is chosen on held-out rows of train.tsv; the dev file is scored once, at the end.
A training that was ended goes on with the same command and --resume, and gives the same teacher."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("finetune", help="train a teacher from labelled rows", epilog=EPILOG)
    add_options(parser, FinetuneConfig, config_flag=True)
    add_json(parser)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and print the scores."""
    config = build_config(arguments, FinetuneConfig, problems)
    set_up_logging(quiet=arguments.quiet)
    from zskd.finetune import finetune

    done = finetune(config)
    if arguments.json:
        print(json.dumps({"folder": str(done.folder), **done.record}))
        return 0
    for name, scores in done.record["scores"].items():
        print(f"{name} ({scores['rows']} rows): accuracy {scores['accuracy']:.4f}")
    print(f"teacher: {done.folder}")
    return 0


def problems(config: FinetuneConfig) -> list[str]:
    """Problems with the options, found before anything loads."""
    return check_options(config, _problems)


def _problems(config: FinetuneConfig, task: Task) -> list[str]:
    found = []
    if config.glue_dir is None and not task.hub_config:
        found.append("--glue-dir: expected the folder that holds train.tsv, found none")
    if config.glue_dir is not None:
        train = check_header(task, task.train_file(config.glue_dir))
        found += [f"--glue-dir {config.glue_dir}: {problem}" for problem in train]
    if known_backbone(config.base) is None and is_local(config.base):
        found += check_local(config.base, "--base", config.max_length)
    if config.full and config.last_layers is not None:
        found.append(f"--last-layers {config.last_layers}: expected an adapter, found --full; leave one of both out")
    if config.adapter is not None:
        if config.full:
            found.append(f"--adapter {config.adapter}: only a new adapter can start from an adapter; leave out --full")
        needed = ("adapter_config.json", "adapter_model.safetensors")
        if not all(is_file(expanded(config.adapter) / name) for name in needed):
            found.append(f"--adapter {config.adapter}: expected a folder with {' and '.join(needed)}, found none")
    found += _undistillable_problems(config, task)
    output = output_path(config, task)
    if problems := check_output_dir(output):
        found += problems
    elif not config.resume and exists(output) and any(output.iterdir()):
        advice = "; pass --resume if it is this teacher, not scored yet" if is_file(output / RECORD) else ""
        found.append(f"--output-dir {output}: expected a new or empty folder, found files in it{advice}")
    else:
        found += training_problems(config, task)
    return found + check_cache_dir(config.cache_dir)


def _undistillable_problems(config: FinetuneConfig, task: Task) -> list[str]:
    """Options without a usual teacher, or one that cannot be."""
    name = config.undistillable
    if name is not None:
        if is_callable_name(name) or name == "default":
            return [f"--undistillable {name}: expected a teacher with weights: `embedded`, a folder or a Hub id"]
        return check_classifier(task, name, None, "--undistillable", config.max_length)
    return [
        f"{flag(option)} {getattr(config, option):g}: expected --undistillable TEACHER with it, found none"
        for option in ("undistillable_weight", "undistillable_temperature")
        if getattr(config, option) != getattr(FinetuneConfig, option)
    ]
