"""Options: default < YAML < flag, casts, hints for misspelt names, and all problems in one report."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from conftest import as_flags

from zskd import configs
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root, field_type, packaged_configs, read_yaml, resolve, to_dict
from zskd.config.verbs import EvaluateConfig, FinetuneConfig
from zskd.errors import InputError

PACKAGED = sorted(Path(configs.__path__[0]).glob("*.yaml"))


@pytest.fixture
def write(tmp_path: Path):
    """Write a YAML file and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "options.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_flag_beats_yaml_beats_default(write) -> None:
    path = write("epochs: 7\nbatch_size: 16\n")
    config, problems = resolve(DistillConfig, path, {"batch_size": "8"})
    assert not problems
    assert (config.epochs, config.batch_size, config.seed) == (7.0, 8, DistillConfig.seed)


def test_precedence_holds_on_the_command_line(cli, tiny_config, write) -> None:
    path = write("learning_rate: 0.5\nepochs: 7\n")
    arguments = as_flags(tiny_config, epochs=None, learning_rate=None)
    done = cli("validate", "--config", path, *arguments, "--learning-rate", "2e-5")
    shown = yaml.safe_load(done.out)
    assert done.code == 0
    assert (shown["learning_rate"], shown["epochs"], shown["temperature"]) == (2e-5, 7.0, 1.0)


def test_number_that_yaml_reads_as_text_is_cast(write) -> None:
    assert isinstance(yaml.safe_load("2e-5"), str)  # the trap
    config, problems = resolve(DistillConfig, write("learning_rate: 2e-5\n"), {})
    assert not problems
    assert config.learning_rate == 2e-5


def test_every_value_has_its_field_type(write) -> None:
    path = write("epochs: 3\nseed: 2.0\ncorpus: text.txt\nteacher: 7\nresume: true\ncache_dir: null\n")
    config, problems = resolve(DistillConfig, path, {"pool_size": "128"})
    assert not problems
    assert (config.epochs, config.seed, config.corpus) == (3.0, 2, ["text.txt"])
    assert (config.teacher, config.resume, config.pool_size) == ("7", True, 128)
    for item in fields(config):
        kind, optional = field_type(DistillConfig, item.name)
        value = getattr(config, item.name)
        assert type(value) is kind or (optional and value is None), item.name


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("batch_size: many", "--batch-size"),
        ("batch_size: 1.5", "--batch-size"),
        ("batch_size: true", "--batch-size"),
        ("batch_size: null", "--batch-size"),
        ("batch_size: .inf", "--batch-size"),
        ("epochs: [1, 2]", "--epochs"),
        ("resume: maybe", "--resume"),
        ("resume: 1", "--resume"),
        ("teacher: [a, b]", "--teacher"),
        ("corpus: null", "--corpus"),
        ("corpus: {file: text.txt}", "--corpus"),
    ],
)
def test_wrong_type_is_named_with_its_flag(write, line: str, flag: str) -> None:
    _, problems = resolve(DistillConfig, write(line), {})
    assert len(problems) == 1
    assert problems[0].startswith(f"{flag}: expected")


def test_unknown_yaml_key_names_the_nearest(write) -> None:
    _, problems = resolve(DistillConfig, write("batch-sise: 3\n"), {})
    assert len(problems) == 1
    assert "'batch-sise'" in problems[0]
    assert "'batch_size'" in problems[0]


@pytest.mark.parametrize(
    ("wrong", "right"), [("--batchsize", "--batch-size"), ("--corpu", "--corpus"), ("--tasks=sst2", "--task")]
)
def test_unknown_flag_names_the_nearest(cli, wrong: str, right: str) -> None:
    done = cli("distill", "--task", "sst2", wrong, "1")
    assert done.code == 2
    assert wrong.partition("=")[0] in done.errors[0]
    assert f"'{right}'" in done.errors[0]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "a: [\n", "a: b: c\n"])
def test_file_that_holds_no_options_is_refused(write, text: str) -> None:
    path = write(text)
    with pytest.raises(InputError) as raised:
        resolve(DistillConfig, path, {})
    (problem,) = raised.value.problems
    assert path in problem


def test_empty_file_is_no_options(write) -> None:
    assert read_yaml(write("# nothing\n")) == {}


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_packaged_configuration_resolves(path: Path) -> None:
    by_name = {DistillConfig: path.stem} if path.stem in packaged_configs() else {}
    classes = (DistillConfig, FinetuneConfig, EvaluateConfig)
    accepted = [cls for cls in classes if not resolve(cls, by_name.get(cls, str(path)), {})[1]]
    assert accepted, resolve(DistillConfig, str(path), {})[1]
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    resolved = to_dict(resolve(accepted[0], str(path), {})[0])
    assert {key: resolved[key] for key in given} == given
    assert path.read_text(encoding="utf-8").startswith("# "), "its first line is shown by `zskd ls`"


def test_all_packaged_configurations_are_reachable_by_name() -> None:
    assert PACKAGED
    assert {"glue", "embedded", "smoke"} <= set(packaged_configs())


def test_several_problems_come_together(cli, tmp_path: Path, write) -> None:
    path = write("epoch: 3\nbatch_size: many\n")
    done = cli(
        "distill",
        "--config",
        path,
        "--task",
        "sst",
        "--perturb",
        "backwards",
        "--max-length",
        "4",
        "--output-dir",
        tmp_path / "run",
    )
    assert done.code == 2
    assert len(done.errors) == 5
    for expected in ("epoch", "--batch-size", "--task", "--perturb", "--max-length"):
        assert any(expected in line for line in done.errors), expected


def test_bad_config_and_bad_task_come_together(cli) -> None:
    done = cli("distill", "--config", "embeded", "--task", "sst-2", "--corpus", "embedded")
    assert done.code == 2
    assert any("--config embeded" in line and "'embedded'" in line for line in done.errors)
    assert any("--task" in line and "'sst-2'" in line and "'sst2'" in line for line in done.errors)


def test_cache_folder_is_flag_then_environment_then_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSKD_CACHE", "/from/environment")
    assert cache_root("/from/flag") == Path("/from/flag")
    assert cache_root(None) == Path("/from/environment")
    monkeypatch.delenv("ZSKD_CACHE")
    assert cache_root(None) == Path("~/.cache/zskd").expanduser()


def test_validate_shows_what_comes_from_the_task(cli, write, tmp_path: Path) -> None:
    arguments = ("--config", write("teacher: someone/teacher\ncorpus: embedded\n"), "--output-dir", tmp_path / "run")
    shown = yaml.safe_load(cli("validate", "--task", "rte", *arguments).out)
    assert (shown["max_length"], shown["pool_size"]) == (128, 90_000)


def test_plain_dictionary_resolves_to_the_same_options(tiny_config: DistillConfig, write) -> None:
    again, problems = resolve(DistillConfig, write(yaml.safe_dump(to_dict(tiny_config))), {})
    assert not problems
    assert again == tiny_config


def test_a_long_value_is_not_written_out(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"batch_size: 0x{'f' * 4_000}\ntask: {{a: {'b' * 9_000}}}\n{'k' * 900}: 1\n", encoding="utf-8")
    _, problems = resolve(DistillConfig, str(path), {})
    assert len(problems) == 3 and max(map(len, problems)) < 1_200
    assert "found a number of 16,000 bits" in problems[0]


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1\nseed: 2\n", encoding="utf-8")
    with pytest.raises(InputError, match="the key 'seed' a second time"):
        resolve(DistillConfig, str(path), {})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("teacher: yes", "--teacher: expected a value of type str, found True; put it into quotes"),
        ("teacher: !!binary aGVsbG8=", "--teacher: expected a value of type str, found b'hello'"),
        ("corpus: [a, no]", "--corpus: expected a value of type list, found ['a', False]"),
        ("corpus: !!set {a}", "--corpus: expected a value of type list, found {'a'}"),
        ('cache_dir: "a\\0b"', "--cache-dir: expected text without NUL, found 'a\\x00b'"),
        ('cache_dir: "\\ud800"', "--cache-dir: expected UTF-8 text, found other bytes in '\\ud800'"),
        ("glue_dir: ''", "--glue-dir: expected a value, found an empty text; leave the option out"),
        (f"student: {'x' * 300}", "--student: expected names of at most 255 bytes, found one of 300: 'xxx"),
        ("epochs: 1" + "0" * 400, "--epochs: expected a value of type float, found "),
    ],
)
def test_what_names_nothing_is_refused_and_keeps_its_default(write, line: str, said: str) -> None:
    config, (problem,) = resolve(DistillConfig, write(line), {})
    assert problem.startswith(said) and len(problem) < 300
    assert config == DistillConfig()


def test_a_negative_zero_is_zero(write) -> None:
    config, problems = resolve(DistillConfig, write("warmup: -0.0"), {})
    assert not problems and str(config.warmup) == "0.0"


@pytest.mark.parametrize("name", ["", "x" * 300, "/dev/zero", "/dev/null/x", "."])
def test_a_configuration_that_is_no_file_is_one_message(cli, name: str) -> None:
    done = cli("validate", f"--config={name}")
    assert done.code == 2 and len(done.errors) == 1
    assert done.errors[0].startswith(f"zskd: error: --config {name}: no such file or packaged configuration, found ")


def test_a_value_that_cannot_be_used_is_not_also_missing(cli) -> None:
    done = cli("validate", "--task", "x" * 300, "--teacher-revision", "1", "--teacher", "y" * 300)
    assert [line.split()[2] for line in done.errors] == ["--task:", "--teacher:"]
