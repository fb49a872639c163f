"""`zskd report`: write a run, or several side by side, as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.system.files import target_problem

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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print its path."""
    if arguments.output is None and len(arguments.runs) > 1:
        raise InputError(f"--output: expected a file for the comparison of {len(arguments.runs)} runs, found none")
    if arguments.output is not None and (problem := target_problem(Path(arguments.output))):
        raise InputError(f"--output {arguments.output}: expected a file that can be written, found: {problem}")
    from zskd.report.page import write_report

    print(f"report: {write_report(arguments.runs, arguments.output)}")
    return 0
