"""Help: quick, free of torch, and complete."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import fields

import pytest

from zskd.cli import VERBS
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig

NAMES = [module.__name__.rpartition(".")[2] for module in VERBS]
OPTIONS = {
    "distill": DistillConfig,
    "validate": DistillConfig,
    "evaluate": EvaluateConfig,
    "diagnose": DiagnoseConfig,
    "finetune": FinetuneConfig,
    "predict": PredictConfig,
}
HEAVY = ("torch", "transformers", "datasets", "peft", "accelerate", "sklearn", "pandas", "matplotlib", "jinja2")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `zskd ARGUMENTS --help` prints."""
    from zskd.cli import main

    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_of_all_verbs_imports_nothing_heavy() -> None:
    code = (
        "import sys; from zskd.cli import VERBS, parser\n"
        "top = parser(); top.format_help()\n"
        "verbs = top._subparsers._group_actions[0].choices\n"
        "assert len(verbs) == len(VERBS) and all(verb.format_help() for verb in verbs.values())\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_takes_less_than_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        # Processor seconds of the child, so that another job on the machine does not fail the test.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "zskd", "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert "examples:" in done.stdout
    assert min(seconds) < 0.5


def test_top_help_names_every_verb(capsys) -> None:
    text = shown(capsys)
    known = {"distill", "report", "publish", "predict", "export", "diagnose", "evaluate", "finetune", "validate", "ls"}
    assert all(f"\n    {name} " in text for name in known)
    assert set(NAMES) == known


@pytest.mark.parametrize("verb", NAMES)
def test_help_of_a_verb_shows_examples_that_parse(capsys, verb: str) -> None:
    from zskd.cli import parser

    examples = shown(capsys, verb).partition("\nexamples:\n")[2]
    commands = [line.split() for line in examples.splitlines() if line.startswith(f"  zskd {verb}")]
    assert commands
    for words in commands:
        assert parser().parse_args(words[1:]).verb == verb


@pytest.mark.parametrize("verb", OPTIONS)
def test_help_of_a_verb_shows_every_option_with_its_meaning(capsys, verb: str) -> None:
    text = "".join(shown(capsys, verb).split())  # argparse breaks lines at hyphens too
    for item in fields(OPTIONS[verb]):
        assert item.metadata.get("positional", flag(item.name)) in text
        assert "".join(item.metadata["help"].split()) in text
        for choice in item.metadata.get("choices", ()):
            assert choice in text
    assert ("--config" in text) == (verb not in ("evaluate", "predict", "diagnose"))


def test_version(capsys) -> None:
    from zskd import __version__
    from zskd.cli import main

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"zskd {__version__}\n"
