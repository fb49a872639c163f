"""`zskd report`: write a run, or several side by side, as one HTML file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zskd.checks import check_output
from zskd.cli.parser import add_json, add_quiet, check_texts, set_up_logging
from zskd.errors import InputError

EPILOG = """examples:
  zskd report runs/first
      writes runs/first/report.html
  zskd report runs/sst2-0 runs/sst2-1 runs/qnli-0 --output comparison.html
      a comparison; runs that differ only in the seed share a line

The file contains no script and needs neither network nor other files."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("report", help="write a run, or a comparison of runs, as one HTML file", epilog=EPILOG)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--output", metavar="FILE", help="the file; default for one run: RUN/report.html")
    add_json(parser)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print its path."""
    check_texts(output=arguments.output)
    for folder in arguments.runs:
        check_texts(RUN=folder)
    if arguments.output is None and len(arguments.runs) > 1:
        raise InputError(f"--output: expected a file for the comparison of {len(arguments.runs)} runs, found none")
    if problems := check_output(arguments.output):
        raise InputError(problems)
    set_up_logging(quiet=arguments.quiet)
    from zskd.report.page import write_report

    path = write_report(arguments.runs, arguments.output)
    print(json.dumps({"report": str(path)}) if arguments.json else f"report: {path}")
    return 0
