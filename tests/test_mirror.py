"""The tests mirror the package: `zskd/a/b.py` has `tests/a/test_b.py`, or stands in a list that says who covers it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import zskd

PACKAGE = Path(zskd.__file__).parent
TESTS = Path(__file__).parent

# Modules without a test file of their own, and the test that covers each.
COVERED = {
    "__init__.py": "test_public.py",
    "__main__.py": "cli/test_help.py",
    "cli/__init__.py": "cli/test_help.py",
    "cli/diagnose.py": "diagnosis/test_diagnose.py",
    "cli/distill.py": "cli/test_errors.py",
    "cli/evaluate.py": "cli/test_verbs.py",
    "cli/export.py": "inference/test_export.py",
    "cli/finetune.py": "test_finetune.py",
    "cli/ls.py": "cli/test_verbs.py",
    "cli/parser.py": "cli/test_help.py",
    "cli/predict.py": "inference/test_predict.py",
    "cli/pretrain.py": "pretrain/test_make.py",
    "cli/publish.py": "publish/test_plan.py",
    "cli/report.py": "report/test_comparison.py",
    "cli/config.py": "cli/test_verbs.py",
    "cli/validate.py": "cli/test_verbs.py",
    "config/distillation.py": "config/test_option.py",
    "config/methods/anchors.py": "methods/test_anchors.py",
    "config/methods/backward_pass.py": "methods/test_backward_pass.py",
    "config/methods/class_balance.py": "methods/test_class_balance.py",
    "config/methods/feature_prior.py": "methods/test_feature_prior.py",
    "config/methods/inconsistent.py": "methods/test_inconsistent.py",
    "config/methods/messages.py": "methods/test_messages.py",
    "config/methods/roles.py": "methods/test_roles.py",
    "config/methods/selection.py": "methods/test_selection.py",
    "config/methods/uncertainty_mixup.py": "methods/test_uncertainty_mixup.py",
    "config/methods/spec.py": "config/methods/test_table.py",
    "config/objective_options.py": "config/test_option.py",
    "config/optimizer_options.py": "config/test_option.py",
    "config/pretraining.py": "pretrain/test_make.py",
    "config/shared.py": "config/test_option.py",
    "config/verbs.py": "cli/test_problems.py",
    "diagnosis/printed.py": "diagnosis/test_findings.py",
    "diagnosis/stored.py": "report/test_diagnosis_section.py",
    "errors.py": "cli/test_failures.py",
    "finetune/__init__.py": "test_finetune.py",
    "finetune/classifier_trainer.py": "test_finetune.py",
    "finetune/start.py": "test_finetune.py",
    "finetune/teach.py": "test_finetune_resume.py",
    "finetune/teacher_scores.py": "test_finetune.py",
    "inference/saved.py": "inference/test_predict.py",
    "methods/adversarial/batches.py": "test_callbacks.py",
    "methods/context.py": "methods/test_contract.py",
    "methods/table.py": "config/methods/test_table.py",
    "models/fast_modules.py": "models/test_fast_layers.py",
    "pretrain/__init__.py": "pretrain/test_make.py",
    "pretrain/backbone.py": "pretrain/test_make.py",
    "pretrain/problems.py": "pretrain/test_make.py",
    "pretrain/start_trainer.py": "pretrain/test_make.py",
    "publish/__init__.py": "publish/test_plan.py",
    "publish/metadata.py": "publish/test_run_card.py",
    "report/data.py": "report/test_comparison.py",
    "runs/start_record.py": "student/test_started.py",
    "student/built.py": "student/test_initial.py",
    "student/shape.py": "student/test_initial.py",
    "teacher/base.py": "teacher/test_classifier.py",
    "training/finish.py": "training/test_seam.py",
    "training/seam_checks.py": "training/test_seam.py",
    "training/fit.py": "test_resume.py",
    "training/resume.py": "training/test_manifest.py",
    "transfer/logits.py": "transfer/test_transfer_set.py",
    "training/trials.py": "training/test_search.py",
}

# Tests of more than one module.
ACROSS = {
    "cli/test_errors.py": "wrong input of every verb",
    "cli/test_help.py": "help of every verb",
    "cli/test_long_inputs.py": "lengths in every verb",
    "cli/test_problems.py": "options of every verb",
    "cli/test_terminal.py": "what is printed where",
    "cli/test_verbs.py": "the small verbs",
    "methods/adversarial/test_adversarial_resume.py": "adversarial runs killed and resumed",
    "methods/adversarial/test_adversarial_runs.py": "whole adversarial runs",
    "methods/test_contract.py": "the contract that every method keeps",
    "methods/test_mutants.py": "a fault in every method, and the test that finds it",
    "methods/test_together.py": "pairs of methods, and whole runs with each",
    "models/test_families.py": "every family's logits through every verb",
    "publish/test_commands.py": "whole commands against a Hub",
    "report/test_browser.py": "the page in a browser",
    "test_dependencies.py": "what setup.cfg declares and the package imports",
    "test_documentation.py": "the code of README and docs",
    "test_browser_example.py": "the page of examples/browser",
    "test_examples.py": "the programs of examples/",
    "test_finetune.py": "teachers from labelled rows",
    "test_finetune_resume.py": "trainings of teachers killed and resumed",
    "test_guards.py": "faulty model folders, every verb and what it reads them as",
    "test_import_order.py": "the package's shape",
    "test_mirror.py": "the tests' shape",
    "test_notebook.py": "examples/quickstart.ipynb",
    "test_trackers.py": "trackers of Trainer, in an environment of their own",
    "test_neighbours.py": "students in neighbouring packages",
    "test_pinned_keys.py": "keys of caches and metrics",
    "test_project_files.py": "files that other programs read",
    "test_public.py": "what `import zskd` offers",
    "test_remote_code.py": "folders that bring code",
    "test_resume.py": "runs killed and resumed",
    "test_site.py": "the documentation site",
    "test_zero_shot.py": "what a run reads and when",
    "training/test_objective_runs.py": "a run with each objective",
    "training/test_search.py": "a search of Trainer's over the objective's options",
}


def own_test(module: str) -> str:
    path = Path(module)
    return (path.parent / f"test_{path.name}").as_posix()


def names(source: str) -> set[str]:
    """Public names that a module defines."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def mentions(test: str, module: str, source: str) -> bool:
    """Whether a test has the module's dotted name, its file's name or a public name of it as a word."""
    path = Path(module).with_suffix("")
    stem = path.parent.name if path.name == "__init__" else path.name
    words = {".".join(("zskd", *path.parts)), stem.strip("_") or "zskd", *names(source)}
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", test) for word in words)


def has_code(source: str) -> bool:
    """False for a package's docstring alone."""
    body = ast.parse(source).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def problems(modules: Mapping[str, str], tests: Mapping[str, str], covered: Mapping[str, str]) -> list[str]:
    """What is not as it should be.

    Args:
        modules: path below the package -> source.
        tests: path below the tests -> source, of the files that pytest reads.
        covered: a module without a test file of its own -> the test that covers it.
    """
    found = []
    for module, source in modules.items():
        own, listed = own_test(module) in tests, module in covered
        if own and listed:
            found.append(f"{module}: has {own_test(module)}, so take it out of COVERED")
        elif listed and covered[module] not in tests:
            found.append(f"{module}: covered by {covered[module]}, which is gone")
        elif listed and not mentions(tests[covered[module]], module, source):
            found.append(f"{module}: {covered[module]} mentions neither it nor one of its names")
        elif not own and not listed and has_code(source):
            found.append(f"{module}: expected {own_test(module)}, or an entry of COVERED")
    found += [f"{module}: in COVERED, and gone" for module in covered if module not in modules]
    mirrors = {own_test(module) for module in modules}
    found += [
        f"tests/{test}: mirrors no module and is not in ACROSS"
        for test in tests
        if test not in mirrors and test not in ACROSS
    ]
    return found + [f"tests/{test}: in ACROSS, and gone" for test in ACROSS if test not in tests]


def read(folder: Path, pattern: str) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob(pattern)}
    # A metric's script is loaded by its path; `recipes` and `examples` are beside the package.
    return {path: text for path, text in sorted(found.items()) if not re.search("glue_score/|^recipes/", path)}


MODULES, FOUND = read(PACKAGE, "*.py"), read(TESTS, "test_*.py")


def test_every_module_has_its_test_or_says_which_covers_it() -> None:
    wrong = problems(MODULES, FOUND, COVERED)
    assert not wrong, "\n".join(wrong)


def test_what_is_out_of_place_would_be_found() -> None:
    def found(modules: dict[str, str], tests: dict[str, str], covered: dict[str, str]) -> list[str]:
        return problems({**MODULES, **modules}, {**FOUND, **tests}, {**COVERED, **covered})

    new, test = {"text/new.py": "def make_new(): ..."}, {"text/test_new.py": ""}
    assert found(new, test, {}) == []
    assert found(new, {}, {}) == ["text/new.py: expected text/test_new.py, or an entry of COVERED"]
    (both,) = found(new, test, {"text/new.py": "test_pipeline.py"})
    assert both == "text/new.py: has text/test_new.py, so take it out of COVERED"
    (silent,) = found(new, {}, {"text/new.py": "hub/test_ask.py"})
    assert silent == "text/new.py: hub/test_ask.py mentions neither it nor one of its names"
    (gone,) = found(new, {}, {"text/new.py": "text/test_gone.py"})
    assert gone == "text/new.py: covered by text/test_gone.py, which is gone"
    assert found({}, {}, {"text/new.py": "hub/test_ask.py"}) == ["text/new.py: in COVERED, and gone"]
    assert found({}, test, {}) == ["tests/text/test_new.py: mirrors no module and is not in ACROSS"]
    assert found({"text/more/__init__.py": '"""Only words."""'}, {}, {}) == []


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by that name alone."""
    files = [path.name for path in TESTS.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(files) == sorted(set(files))
