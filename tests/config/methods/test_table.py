"""What is known of the methods before anything loads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import as_flags

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods import table
from zskd.config.methods.spec import MethodSpec
from zskd.config.methods.table import METHODS, name_problems, unused_options, used_methods
from zskd.config.resolve import resolve
from zskd.methods.table import CODE, make_methods


def used(**options: object) -> list[str]:
    return [spec.name for spec in used_methods(DistillConfig(**options))]


def test_a_method_is_used_where_it_is_named_or_its_own_option_asks_for_it() -> None:
    assert used(max_class_share=1.0) == []
    assert used() == ["class-balance"], "its option does by default"
    assert used(max_class_share=1.0, perturb="adversarial") == ["adversarial"]
    assert used(max_class_share=1.0, method=["adversarial"]) == ["adversarial"]
    assert used(method=["adversarial", "class-balance"], perturb="adversarial") == ["class-balance", "adversarial"]
    assert used(method=list(reversed(METHODS))) == list(METHODS), "in the table's order"


@pytest.mark.parametrize(
    "given", [["class-balance,adversarial"], ["class-balance", "adversarial"], ["class-balance, ", "adversarial"]]
)
def test_names_are_separated_by_commas_or_spaces(cli, tiny_config: DistillConfig, tmp_path: Path, given: list) -> None:
    wanted = ["class-balance", "adversarial"]
    assert resolve(DistillConfig, None, {"method": given})[0].method == wanted
    path = tmp_path / "options.yaml"
    for value in (given, given[0] if len(given) == 1 else " ".join(given)):
        path.write_text(yaml.safe_dump({"method": value}), encoding="utf-8")
        assert resolve(DistillConfig, str(path), {}) == (DistillConfig(method=wanted), [])
    path.write_text("corpus: [embedded]\nteacher: someone/teacher\n", encoding="utf-8")
    run = ("--task", "sst2", "--config", path, "--output-dir", tmp_path / "run")
    done = cli("validate", *run, "--method", *given)
    assert yaml.safe_load(done.out)["method"] == wanted


def test_a_comma_in_another_list_separates_nothing() -> None:
    assert resolve(DistillConfig, None, {"corpus": ["a, b.txt"]})[0].corpus == ["a, b.txt"]


def test_unknown_and_repeated_names_are_problems(tiny_config: DistillConfig) -> None:
    assert name_problems(list(METHODS)) == []
    (unknown,) = name_problems(["adversarail"])
    assert "--method adversarail" in unknown and "did you mean 'adversarial'?" in unknown
    assert all(name in unknown for name in METHODS)
    (repeated,) = name_problems(["class-balance", "adversarial", "class-balance"])
    assert "--method class-balance" in repeated and "2 times" in repeated
    problems = check(replace(tiny_config, method=["none", "adversarial", "adversarial"]))
    assert [p.partition(":")[0] for p in problems] == ["--method none", "--method adversarial"]


def test_a_method_that_needs_weights_refuses_a_callable_teacher(
    tiny_config: DistillConfig, student_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny_config, student=str(student_folder), method=["probing"])
    spec = MethodSpec("probing", "looks inside", METHODS["class-balance"].options, needs=("weights",))
    monkeypatch.setitem(table.METHODS, "probing", spec)
    assert check(config) == []
    (problem,) = check(config, black_box=True)
    assert problem.startswith("--method probing: ") and "weights" in problem and "callable" in problem
    assert check(replace(config, method=[]), black_box=True) == []


def test_options_without_effect_are_named(cli, tiny_config: DistillConfig) -> None:
    given = {"fresh_share": "", "mask_rate": "", "epochs": ""}
    config = replace(tiny_config, fresh_share=0.5, mask_rate=0.1, epochs=9.0)
    (line,) = unused_options(config, given)
    assert line == "--fresh-share, --mask-rate: no effect without --perturb adversarial"
    assert unused_options(config, {"epochs"}) == [], "what a YAML file says is no question"
    for asked in ({"perturb": "adversarial"}, {"method": ["adversarial"]}):
        assert unused_options(replace(config, **asked), given) == []


def test_an_option_that_turns_its_method_off_has_an_effect(tiny_config: DistillConfig) -> None:
    for share in (1.0, 0.7):
        assert unused_options(replace(tiny_config, max_class_share=share), {"max_class_share"}) == []


def test_the_command_line_warns_and_goes_on(cli, tiny_config: DistillConfig) -> None:
    done = cli("validate", *as_flags(tiny_config))
    assert (done.code, done.err) == (0, "")
    done = cli("validate", *as_flags(tiny_config, fresh_share=0.5))
    assert done.code == 0 and yaml.safe_load(done.out)["fresh_share"] == 0.5
    assert done.err == "--fresh-share: no effect without --perturb adversarial\n"


def test_the_table_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from zskd.config.methods.table import METHODS\n"
        "print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_method_has_code_that_takes_its_options() -> None:
    assert set(CODE) == set(METHODS)
    made = make_methods(DistillConfig(method=list(METHODS), max_class_share=0.7, fresh_share=0.3))
    assert [method.name for method in made] == list(METHODS)
    by_name = {method.name: method for method in made}
    for name, spec in METHODS.items():
        assert type(by_name[name].options) is spec.options
    assert by_name["class-balance"].options.max_class_share == 0.7 and by_name["adversarial"].options.fresh_share == 0.3
    assert make_methods(DistillConfig(max_class_share=1.0)) == []
