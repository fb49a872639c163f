"""The command line, one file per verb. Building the parser imports neither torch nor transformers."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
from collections.abc import Sequence

from zskd.cli import (
    config,
    diagnose,
    distill,
    evaluate,
    export,
    finetune,
    ls,
    predict,
    pretrain,
    publish,
    report,
    validate,
)
from zskd.cli.failures import failure_of, is_the_machine_s
from zskd.cli.launch import hand_over, is_main, launched, started_by_launcher
from zskd.cli.parser import Parser
from zskd.errors import InputError, ZskdError
from zskd.system import interrupts
from zskd.system.plain_text import NOT_IN_A_LINE

VERBS = (distill, report, publish, predict, export, diagnose, evaluate, pretrain, finetune, config, validate, ls)

LONGEST = 900  # characters of a message

EPILOG = """examples:
  zskd distill --task sst2 --config embedded        a student without any data, from packages alone
  zskd distill --task sst2 --teacher my-classifier --corpus my-text.txt
  zskd evaluate --model runs/sst2-0 --task sst2 --data probe
  zskd publish runs/sst2-0 --repo-id me/sst2-mini --dry-run
  zskd ls"""


def parser() -> Parser:
    """The argparse parser of the whole command line."""
    from zskd import __version__

    top = Parser(prog="zskd", description="Zero-shot knowledge distillation of text classifiers.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"zskd {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for module in VERBS:
        module.add_parser(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 for success, 1 for a failed run, 2 for wrong input, 130 if the user interrupted, 143 after SIGTERM, 129 after
        SIGHUP.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments: argparse.Namespace | None = None
    try:
        with interrupts.told_apart():
            arguments = parser().parse_args(argv)
            code = int(arguments.run(arguments))
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk behind it is found here, and not when Python ends
            return code
    except ZskdError as error:
        if isinstance(error, InputError) and is_the_machine_s(error):
            return _failed(error, arguments)
        return _say(getattr(error, "problems", [str(error)]), error.exit_code)
    except KeyboardInterrupt as error:
        ended = error if isinstance(error, interrupts.Interrupted) else interrupts.Interrupted()
        interrupts.say(ended, resumable=interrupts.is_resumable(words))
        return ended.exit_code
    except Exception as error:
        return _failed(error, arguments)


def _failed(error: Exception, arguments: argparse.Namespace | None) -> int:
    """Say what the machine, another process or the reader of the output did; raise what is a bug."""
    if isinstance(error, BrokenPipeError) and _reader_left():
        return 0  # it has seen enough (`| head`)
    if _lost_another_process(error):
        lost = "the connection to another process is lost, because it has ended"
        return _say([] if launched() else [lost], 1)  # the process that started this one says which has ended
    if (failure := failure_of(error, arguments)) is None:
        raise error
    return _say([failure.message], failure.exit_code)


def _reader_left() -> bool:
    """Whether nobody reads what goes to standard output any more, which is then given up."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, ValueError):  # closed, or not a file
        return False
    watch = select.poll()
    watch.register(descriptor, select.POLLOUT)
    left = any(event & select.POLLERR for _, event in watch.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return left


def _say(messages: Sequence[str], exit_code: int) -> int:
    """Print messages, or leave them to the process that started this one, so that they are said once."""
    lines = [in_one_line(message) for message in messages]
    # Of processes that others started, the first finds the same wrong input and says so.
    told = hand_over(lines, exit_code) if launched() else exit_code == InputError.exit_code and not is_main()
    if lines and not told and sys.stderr is not None:
        with contextlib.suppress(OSError):  # there is nowhere else to say it
            print(*(f"zskd: error: {line}" for line in lines), sep="\n", file=sys.stderr, flush=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What is left in the buffer would be written again when Python ends, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code


def in_one_line(message: str) -> str:
    """A message without line breaks, control characters and lone surrogates, of at most `LONGEST` characters.

    Names of files and labels may hold all of these.
    """
    message = NOT_IN_A_LINE.sub(lambda found: found[0].encode("unicode_escape").decode(), message)
    return message if len(message) <= LONGEST else f"{message[: LONGEST - 205]} ... {message[-200:]}"


def _lost_another_process(error: Exception) -> bool:
    """True if gloo or NCCL lost another process, whose own message tells what happened."""
    if not started_by_launcher() or not isinstance(error, RuntimeError):
        return False
    return type(error).__module__.startswith("torch.distributed") or "gloo" in str(error) or "NCCL" in str(error)
