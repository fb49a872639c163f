"""`zskd publish`: publish a finished run on the Hugging Face Hub."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from zskd.cli.parser import add_json, add_quiet, check_texts, set_up_logging
from zskd.errors import InputError, RunError

EPILOG = """examples:
  zskd publish runs/sst2-0 --repo-id me/sst2-mini --dry-run
      shows which files would be uploaded; needs neither network nor token
  zskd publish runs/sst2-0 --repo-id me/sst2-mini
      private: only you can see it
  zskd publish runs/sst2-0 --repo-id me/sst2-mini --public --license apache-2.0
      for everybody

It uploads the student's weights, configuration and tokenizer, and a card (README.md) made from the run's results.
The token comes from --token-file, HF_TOKEN or `hf auth login`, in this order, and needs write access."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("publish", help="put a finished student on the Hugging Face Hub", epilog=EPILOG)
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run (the --output-dir of `zskd distill`)")
    parser.add_argument(
        "--repo-id", required=True, metavar="USER/NAME", help="repository; created if it does not exist"
    )
    parser.add_argument(
        "--public", action="store_true", help="visible to everybody; without it the repository is private"
    )
    parser.add_argument("--dry-run", action="store_true", help="show which files would be uploaded, and stop")
    parser.add_argument("--license", metavar="ID", help="licence in the card, such as apache-2.0; default: none")
    parser.add_argument("--template", metavar="PATH", help="Jinja template of the card that replaces zskd's")
    parser.add_argument(
        "--eval-results", action="store_true", help="also write scores on the Hub's GLUE to .eval_results/glue.yaml"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="allow a commit on top of one that was not published from this run"
    )
    parser.add_argument(
        "--onnx", action="store_true", help="also upload the models of RUN/export, which `zskd export RUN` writes"
    )
    parser.add_argument("--token-file", metavar="PATH", help="file that contains only the token")
    add_json(parser)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Publish, and print where the student is."""
    check_texts(
        RUN=arguments.folder,
        repo_id=arguments.repo_id,
        license=arguments.license,
        template=arguments.template,
        token_file=arguments.token_file,
    )
    set_up_logging(quiet=arguments.quiet)
    from zskd.hub.upload import check_access, read_token, token_path
    from zskd.publish import Options, plan, publish

    options = Options(
        repo_id=arguments.repo_id,
        public=arguments.public,
        licence=arguments.license,
        template=arguments.template,
        evaluation=arguments.eval_results,
        overwrite=arguments.overwrite,
        onnx=arguments.onnx,
    )
    planned = plan(arguments.folder, options)
    if arguments.token_file is not None:
        token_path(arguments.token_file)
    _quiet_bars()
    shown = f"{options.repo_id} ({'public' if options.public else 'private'})"
    said = {"repo_id": options.repo_id, "public": options.public, "files": planned.sizes, "commit_url": None}
    if arguments.dry_run:
        print(json.dumps(said) if arguments.json else f"would go to {shown}:\n{planned.table()}")
        return 0
    token = read_token(arguments.token_file)
    check_access(options.repo_id, token, flag="--repo-id")
    commit = publish(planned, options, token)
    said["commit_url"] = str(commit.commit_url)
    print(json.dumps(said) if arguments.json else f"published to {shown}:\n{planned.table()}\n{commit.commit_url}")
    return 0


def _quiet_bars() -> None:
    """Hide the client's bars unless on a terminal, because elsewhere they leave half a line before the next message."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


def add_flags(parser: argparse.ArgumentParser) -> argparse.Action:
    """Add `--publish`, which is returned, and `--public` to `zskd distill`."""
    group = parser.add_argument_group("publishing")
    asked = group.add_argument(
        "--publish", metavar="USER/NAME", help="publish the finished student, as `zskd publish` does"
    )
    group.add_argument(
        "--public", action="store_true", help="publish for everybody; without it the repository is private"
    )
    return asked


class AfterRun:
    """Publishing at the end of `zskd distill`. Repository name and token are checked before the run starts.

    Raises:
        InputError: the name is wrong, there is no token, the Hub does not accept it, or the Hub cannot be reached.
    """

    flag = "--publish"

    def __init__(self, repo_id: str, public: bool) -> None:
        from zskd.hub.upload import check_access, read_token
        from zskd.publish import Options, check_options

        self.options = Options(repo_id=repo_id, public=public)
        check_options(self.options, flag=self.flag)
        self.token = read_token()
        check_access(repo_id, self.token, flag=self.flag)

    def publish(self, folder: str) -> str:
        """Publish the run in a folder and return its address."""
        from zskd.publish import plan, publish

        _quiet_bars()
        try:
            return str(publish(plan(folder, self.options), self.options, self.token, flag=self.flag).commit_url)
        except (InputError, RunError) as error:
            again = f"`zskd publish {folder} --repo-id {self.options.repo_id}{' --public' * self.options.public}`"
            raise RunError(f"{error}. The run is finished and saved in {folder}; {again} publishes it") from error


def after_run(arguments: argparse.Namespace) -> AfterRun | None:
    """What `zskd distill` has to do after the run, according to its flags; None for nothing."""
    if arguments.publish is None:
        if arguments.public:
            raise InputError("--public: expected --publish USER/NAME with it, found none")
        return None
    check_texts(publish=arguments.publish)
    return AfterRun(arguments.publish, arguments.public)
