"""Help: quick, free of torch, and complete."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from zskd.cli import VERBS
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.methods.table import METHODS
from zskd.config.pretraining import PretrainConfig
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig

NAMES = [module.__name__.rpartition(".")[2] for module in VERBS]
OPTIONS = {
    "distill": DistillConfig,
    "config": DistillConfig,
    "validate": DistillConfig,
    "evaluate": EvaluateConfig,
    "diagnose": DiagnoseConfig,
    "finetune": FinetuneConfig,
    "pretrain": PretrainConfig,
    "predict": PredictConfig,
}
TWO_HELPS = [verb for verb, options in OPTIONS.items() if options is DistillConfig]
HEAVY = (
    "torch",
    "numpy",
    "transformers",
    "datasets",
    "peft",
    "accelerate",
    "sklearn",
    "pandas",
    "matplotlib",
    "jinja2",
)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `zskd ARGUMENTS` prints; without a flag in them, what their ``--help`` does."""
    from zskd.cli import main

    with pytest.raises(SystemExit) as ended:
        main([*arguments] if any(word.startswith("-") for word in arguments) else [*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def whole_help(verb: str) -> str:
    """The flag that shows every option of a verb."""
    return "--help-all" if OPTIONS[verb] is DistillConfig else "--help"


def sections(text: str) -> dict[str, str]:
    """Title -> what stands below it in a help."""
    found, title = {"": ""}, ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            title = line[:-1]
            found[title] = ""
        else:
            found[title] += line + "\n"
    return found


def flags_in(text: str) -> list[str]:
    """The flags that begin a line of a help."""
    return re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, flags=re.MULTILINE)


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
    known = {"distill", "report", "publish", "predict", "export", "diagnose", "evaluate", "pretrain", "finetune"}
    known |= {"config", "validate", "ls"}
    assert all(f"\n    {name} " in text for name in known)
    assert set(NAMES) == known


@pytest.mark.parametrize("verb", NAMES)
def test_help_of_a_verb_shows_examples_that_parse(capsys, verb: str) -> None:
    from zskd.cli import parser

    arguments = [verb, whole_help(verb)] if verb in OPTIONS else [verb]
    examples = shown(capsys, *arguments).partition("\nexamples:\n")[2]
    commands = [line.split() for line in examples.splitlines() if line.startswith(f"  zskd {verb}")]
    assert commands
    for words in commands:
        assert parser().parse_args(words[1:]).verb == verb


@pytest.mark.parametrize("verb", OPTIONS)
def test_help_of_a_verb_shows_every_option_with_its_meaning(capsys, verb: str) -> None:
    text = "".join(shown(capsys, verb, whole_help(verb)).split())  # argparse breaks lines at hyphens too
    for item in fields(OPTIONS[verb]):
        assert item.metadata.get("positional", flag(item.name)) in text
        assert "".join(item.metadata["help"].split()) in text
        for choice in item.metadata.get("choices", ()):
            assert choice in text
    assert ("--config" in text) == (verb not in ("evaluate", "predict", "diagnose"))


@pytest.mark.parametrize("verb", OPTIONS)
def test_whole_help_shows_each_flag_once(capsys, verb: str) -> None:
    text = shown(capsys, verb, whole_help(verb)).partition("\nexamples:")[0]
    flags = flags_in(text)
    assert len(flags) == len(set(flags))
    assert {flag(item.name) for item in fields(OPTIONS[verb]) if "positional" not in item.metadata} <= set(flags)


@pytest.mark.parametrize("verb", TWO_HELPS)
def test_short_help_fits_a_terminal(capsys, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(capsys, verb, "--help")
    options = text.partition("\noptions:\n")[2].partition("\n\n")[0].splitlines()
    assert len(options) <= 24 and len(text.splitlines()) <= 40
    assert max(map(len, options)) <= 80
    assert all(line[23] == " " and line[24] != " " for line in options), "flags left, meanings right"
    for wanted in ("--task", "--teacher", "--corpus", "--perturb", "--method", "--output-dir", "--help-all"):
        assert wanted in flags_in(text)


@pytest.mark.parametrize("verb", TWO_HELPS)
def test_short_help_shows_flags_of_the_whole_one(capsys, verb: str) -> None:
    short, whole = flags_in(shown(capsys, verb, "--help")), flags_in(shown(capsys, verb, "--help-all"))
    assert len(short) == len(set(short)) and set(short) < set(whole)
    brief = {flag(item.name) for item in fields(DistillConfig) if "brief" in item.metadata}
    assert brief < set(short)
    assert not {flag(item.name) for spec in METHODS.values() for item in fields(spec.options)} & set(short)


@pytest.mark.parametrize("verb", TWO_HELPS)
def test_options_of_a_method_stand_under_its_name_alone(capsys, verb: str) -> None:
    found = sections(shown(capsys, verb, "--help-all").partition("\nexamples:")[0])
    for spec in METHODS.values():
        title = f"method {spec.name}: {spec.summary}"
        own = [flag(item.name) for item in fields(spec.options)]
        assert flags_in(found.pop(title)) == own
        assert not set(own) & set(flags_in("".join(found.values())))
    order = [title for title in found if not title.startswith("method ")]
    assert order.index("task and models") < order.index("training") < order.index("run")


def test_only_verbs_that_distil_have_two_helps(capsys) -> None:
    for verb in NAMES:
        assert ("--help-all" in shown(capsys, verb)) == (verb in TWO_HELPS)


def test_version(capsys) -> None:
    from zskd import __version__
    from zskd.cli import main

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"zskd {__version__}\n"


def test_a_shell_completes_verbs_and_flags(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shtab", "--shell=bash", "--prog", "zskd", "zskd.cli.parser"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    path = tmp_path / "zskd"
    path.write_text(done.stdout, encoding="utf-8")

    def completed(*words: str) -> list[str]:
        script = f"source {path}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        script += f'_shtab_zskd zskd "{words[-1]}" "{words[-2]}"; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert completed("zskd", "dist") == ["distill"] and completed("zskd", "distill", "--objec") == ["--objective"]
    assert completed("zskd", "export", "--quan") == ["--quantize"]


@pytest.mark.parametrize("verb", NAMES)
def test_every_verb_has_json_and_quiet(verb: str) -> None:
    from zskd.cli import parser

    verbs = next(action for action in parser()._actions if action.dest == "verb").choices
    assert isinstance(verbs, dict)
    flags = {option for action in verbs[verb]._actions for option in action.option_strings}
    assert {"--json", "--quiet"} <= flags
