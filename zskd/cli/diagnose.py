"""`zskd diagnose`: what a teacher's answers say before anything is distilled."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zskd.cli.parser import add_options, build_config, set_up_logging
from zskd.config.verbs import DiagnoseConfig
from zskd.runs.read import run_config

EPILOG = """examples:
  zskd diagnose embedded --task mnli
  zskd diagnose my-classifier --task my-task.yaml --corpus my-text.txt --json
  zskd diagnose runs/sst2-0
      the teacher of a run beside its student; the result is kept in RUN/diagnosis.json, which `zskd report` shows"""

_FROM_RUN = ("task", "corpus", "label_map", "max_length", "cache_dir")


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("diagnose", help="look at a teacher's answers and say what to try", epilog=EPILOG)
    add_options(parser, DiagnoseConfig)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Diagnose and print text or JSON."""
    run = run_config(getattr(arguments, "model", ""))
    if run is not None:
        for name in _FROM_RUN:
            if not hasattr(arguments, name) and getattr(run, name):
                setattr(arguments, name, getattr(run, name))
    config = build_config(arguments, DiagnoseConfig)
    set_up_logging()
    from zskd.diagnosis.diagnose import diagnose
    from zskd.diagnosis.printed import as_text

    found = diagnose(config)
    print(json.dumps(found) if config.json else as_text(found))
    return 0
