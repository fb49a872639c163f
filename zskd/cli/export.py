"""`zskd export`: write a student for runtimes without torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from zskd.checks import check_cache_dir, check_output_dir
from zskd.cli.parser import add_cache_dir, add_json, add_quiet, check_texts, set_up_logging
from zskd.config import shared
from zskd.errors import InputError
from zskd.system.paths import expanded, is_file, is_folder

FORMATS = ("onnx",)
QUANTIZATIONS = ("int8",)

EPILOG = """examples:
  zskd export runs/first
      writes runs/first/export for ONNX Runtime, optimum and transformers.js, and compares its logits with PyTorch's
  zskd export runs/first --quantize int8 --data glue_data/SST-2/dev.tsv
      also writes an int8 model, and scores both on a labelled file

Needs the packages of zskd[onnx]."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("export", help="write a student as ONNX and check it", epilog=EPILOG)
    parser.add_argument("model", metavar="RUN", help="run folder, model folder or Hub id")
    parser.add_argument("--format", choices=FORMATS, default="onnx", metavar="|".join(FORMATS), help="what to write")
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        metavar="|".join(QUANTIZATIONS),
        help="also write a model with int8 weights",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="labelled file in the task's columns, or `probe`, for scores and agreement; default: the task's probe",
    )
    parser.add_argument("--skip-bad-rows", action="store_true", help=shared.SKIP_BAD_ROWS)
    parser.add_argument("--task", metavar="TASK", help="the model's task, if it is not the student of a run")
    parser.add_argument("--output-dir", metavar="DIR", help="folder to write; default RUN/export")
    add_cache_dir(parser)
    add_json(parser, "a table")
    add_quiet(parser)
    parser.set_defaults(run=run)


def _target(arguments: argparse.Namespace) -> Path:
    if arguments.output_dir:
        folder = Path(arguments.output_dir)
    elif is_folder(expanded(arguments.model)):
        folder = expanded(arguments.model) / "export"
    else:
        raise InputError(f"--output-dir: expected a folder for the export of {arguments.model}, found none")
    if problems := check_output_dir(folder):
        raise InputError(problems)
    if folder.is_dir() and not (folder / "export.json").is_file() and any(folder.iterdir()):
        raise InputError(f"--output-dir {folder}: expected a new folder or an earlier export, found something else")
    return folder


def run(arguments: argparse.Namespace) -> int:
    """Export, check, and print the table."""
    from zskd.hub.ask import is_callable_name

    check_texts(
        RUN=arguments.model,
        data=arguments.data,
        task=arguments.task,
        output_dir=arguments.output_dir,
        cache_dir=arguments.cache_dir,
    )
    if problems := check_cache_dir(arguments.cache_dir):
        raise InputError(problems)
    if is_callable_name(arguments.model):
        raise InputError(f"{arguments.model}: expected a model with weights, found the name of a callable")
    folder = _target(arguments)
    set_up_logging(quiet=arguments.quiet)
    from zskd.hub.model_files import WEIGHTS
    from zskd.inference.export import export_onnx, missing_packages, table
    from zskd.inference.saved import load_saved
    from zskd.models.folder_checks import student_folder
    from zskd.system.files import sha256_file
    from zskd.tasks.labelled import check_header, read_labelled

    if missing := missing_packages():
        raise InputError(f"--format onnx: expected {', '.join(missing)}, found none; pip install 'zskd[onnx]'")
    saved = load_saved(arguments.model, flag="RUN", task_name=arguments.task, cache_dir=arguments.cache_dir)
    probe = saved.task.probe_path() if saved.task is not None else None
    data, path = None, arguments.data
    shown = f"{saved.task.name}, probe" if saved.task is not None and path in (None, "probe") else path
    if path is not None and saved.task is None:
        raise InputError(f"--data {path}: expected --task with it, because {arguments.model} does not name its task")
    if path == "probe" and probe is None:
        raise InputError("--data probe: no probe for this task is packaged")
    if saved.task is not None and (path or probe):
        path = str(probe) if path in (None, "probe") else path
        if problems := check_header(saved.task, str(path)):
            raise InputError([f"--data: {problem}" for problem in problems])
        data = read_labelled(saved.task, str(path), skip_bad_rows=arguments.skip_bad_rows)
    weights = expanded(student_folder(arguments.model)) / WEIGHTS
    results = export_onnx(
        saved,
        folder,
        int8=arguments.quantize == "int8",
        data=data,
        data_name=Path(shown).name if data else "",
        weights=sha256_file(weights) if is_file(weights) else None,
    )
    print(json.dumps(results) if arguments.json else f"{table(results)}\nexport: {folder}")
    return 0
