"""The command line, one file per verb. Building the parser imports neither torch nor transformers."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

from zskd.cli import diagnose, distill, evaluate, export, finetune, ls, predict, publish, report, validate
from zskd.cli.launch import is_main, started_by_launcher
from zskd.cli.parser import Parser
from zskd.errors import InputError, ZskdError
from zskd.system import interrupts
from zskd.system.plain_text import NOT_IN_A_LINE

VERBS = (distill, report, publish, predict, export, diagnose, evaluate, finetune, validate, ls)

LONGEST = 900  # characters of a message

EPILOG = """examples:
  zskd distill --task sst2 --config embedded        a student without any data, from packages alone
  zskd distill --task sst2 --teacher my-classifier --corpus my-text.txt
  zskd evaluate --model runs/sst2-0/student --task sst2 --data probe
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
    try:
        with interrupts.told_apart():
            arguments = parser().parse_args(argv)
            return int(arguments.run(arguments))
    except ZskdError as error:
        if not is_main() and isinstance(error, InputError):
            return error.exit_code  # the first process finds the same wrong input and reports it
        for problem in getattr(error, "problems", [str(error)]):
            print(f"zskd: error: {in_one_line(problem)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        ended = error if isinstance(error, interrupts.Interrupted) else interrupts.Interrupted()
        interrupts.say(ended, resumable="distill" in words[:1])
        return ended.exit_code
    except Exception as error:
        if _lost_another_process(error):
            print("zskd: error: the connection to another process is lost, because it has ended", file=sys.stderr)
            return 1
        if not _disk_is_full(error):
            raise
        print(
            "zskd: error: no space left on the disk; finished label shards, checkpoints and students are kept. Free "
            "some space, then repeat the command with --resume",
            file=sys.stderr,
        )
        return 1


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


def _disk_is_full(error: Exception) -> bool:
    """True if a write failed for lack of space; safetensors and torch have messages of their own for that."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "os error 28" in str(error) or ("inline_container" in str(error) and "unexpected pos" in str(error))
