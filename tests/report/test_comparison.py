"""Several runs: grouped by what differs, with means and spreads, and errors for what is no finished run."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_page import Page

from zskd.errors import InputError
from zskd.report.comparison import content, panels, score_rows, size_row, spread
from zskd.report.data import group_runs, load_run, load_runs
from zskd.report.facts import facts
from zskd.report.page import render


def variant(source: Path, folder: Path, accuracy: float | None = None, **options: object) -> Path:
    """A copy of a run with other options, and another score of its student."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("checkpoints", "student"))
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) | options
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    metrics |= {key: value for key, value in options.items() if key in ("seed", "task")}
    if accuracy is not None:
        metrics["student"]["scores"]["glue"]["accuracy"] = accuracy
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


def test_runs_that_differ_in_the_seed_share_a_line(finished_run: Path, tmp_path: Path) -> None:
    scores = (0.5, 0.75, 0.625)
    folders = [variant(finished_run, tmp_path / f"s{seed}", score, seed=seed) for seed, score in enumerate(scores)]
    runs = load_runs(folders)
    (group,) = group_runs(runs)
    assert group.name == "sst2" and [run.metrics["seed"] for run in group.runs] == [0, 1, 2]
    text = render(runs)
    page = Page(text)
    assert f"{100 * statistics.fmean(scores):.1f}</data> <small>± " in text
    assert f"{100 * statistics.stdev(scores):.1f}</data></small>" in text
    assert "3 seeds" in text
    labels = [str(attributes["aria-label"]) for tag, attributes in page.tags if tag == "svg"]
    assert len(labels) == 2 and all("seed 2" in label for label in labels)


def test_runs_on_the_inputs_of_one_seed_say_so(finished_run: Path, tmp_path: Path) -> None:
    folders = [variant(finished_run, tmp_path / f"s{seed}", seed=seed, pool_seed=7) for seed in (0, 1, 7)]
    (group,) = group_runs(runs := load_runs(folders))
    assert {row["runs"] for row in score_rows(group)} == {"3 seeds on the inputs of seed 7"}
    text = render(runs)
    assert ">1, inputs 7</td>" in text and ">7</td>" in text
    own = variant(finished_run, tmp_path / "own", seed=3)
    groups = group_runs(load_runs([*folders, own]))
    assert [group.differs for group in groups] == [("pool seed 7",), ("pool seed default",)]
    assert dict(facts(runs[0]))["seed"] == "0, and 7 for the inputs"
    assert dict(facts(runs[2]))["seed"] == "7"


def test_the_size_on_disk_is_compared_where_all_of_a_row_have_it(finished_run: Path, tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in (finished_run / "student").iterdir()) / 1e6
    other = variant(finished_run, tmp_path / "other", perturb="none")
    rows = [size_row(group) for group in group_runs(load_runs([finished_run, other]))]
    assert [row["student_mb"] for row in rows] == [(size, None), None]


def test_only_what_a_comparison_shows_is_missed_in_it(finished_run: Path, tmp_path: Path) -> None:
    older = variant(finished_run, tmp_path / "older", seed=1)
    for name in ("disagreements.json", "calls.json"):
        (older / name).unlink()
    assert content(group_runs(load_runs([finished_run, older])))["missing"] == []
    (older / "analysis.json").unlink()
    assert content(group_runs(load_runs([finished_run, older])))["missing"] == [("older", ["analysis.json"])]


def test_a_seed_that_was_run_twice_counts_once_and_no_score_is_left_out(finished_run: Path, tmp_path: Path) -> None:
    """Two runs of one seed were "2 seeds", and a set that one of them lacks vanished from the table."""
    folders = [variant(finished_run, tmp_path / name, 0.5) for name in ("one", "other")]
    metrics = json.loads((folders[1] / "metrics.json").read_text(encoding="utf-8"))
    for who in ("teacher", "student"):
        del metrics[who]["scores"]["glue"]
    (folders[1] / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (group,) = group_runs(load_runs(folders))
    assert {row["set"]: row["runs"] for row in score_rows(group)} == {"probe": "2 runs of 1 seed", "glue": "1 seed"}
    agreement = panels([group])[0]["figures"][0]["svg"]
    assert "seed 0, one" in agreement and "seed 0, other" in agreement


def test_an_option_that_was_left_to_its_default_is_not_none(finished_run: Path, tmp_path: Path) -> None:
    both = [variant(finished_run, tmp_path / str(rate), learning_rate=rate) for rate in (None, 0.5)]
    assert [group.differs for group in group_runs(load_runs(both))] == [
        ("learning rate default",),
        ("learning rate 0.5",),
    ]


def test_options_of_an_adversary_tell_runs_apart_however_it_was_asked_for(finished_run: Path, tmp_path: Path) -> None:
    both = [
        variant(finished_run, tmp_path / f"steps{steps}", perturb="random", method=["adversarial"], student_steps=steps)
        for steps in (50, 20)
    ]
    assert [group.differs for group in group_runs(load_runs(both))] == [("student steps 50",), ("student steps 20",)]


def test_runs_of_other_options_stand_apart_and_say_in_what(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "none", perturb="none", cache_dir="/somewhere")
    groups = group_runs(load_runs([finished_run, other]))
    assert [group.differs for group in groups] == [("perturb adversarial",), ("perturb none",)]
    assert [group.name for group in groups] == ["sst2: run", "sst2: none"]


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({"objective": "kd", "temperature": 1.0}, ["kd: KL (nats)", "kd: T² KL at T = 2 (nats)"]),
        ({"objective": "logit-mse"}, ["kd: T² KL at T = 2 (nats)", "logit-mse: squared difference of logits"]),
        ({"objective": "kd", "temperature": 2.0}, ["kd: T² KL at T = 2 (nats)"]),
    ],
    ids=["other temperatures", "other objectives", "one loss"],
)
def test_losses_that_do_not_compare_have_axes_of_their_own(
    options: dict[str, Any], axes: list[str], finished_run: Path, tmp_path: Path
) -> None:
    both = [
        variant(finished_run, tmp_path / "one", objective="kd", temperature=2.0, perturb="none"),
        variant(finished_run, tmp_path / "other", **options),
    ]
    agreement, *losses = panels(group_runs(load_runs(both)))
    assert len(agreement["figures"]) == 2 and "half that chooses the checkpoint" in agreement["title"]
    assert sorted(axis for panel in losses for axis in axes if f">{axis}</text>" in panel["figures"][0]["svg"]) == axes
    assert len(losses) == len(axes)
    for panel in losses:
        assert len(panel["figures"]) == 2 // len(axes)
        assert ("do not compare" in panel["note"]) == (len(axes) > 1)


def test_runs_that_are_not_zero_shot_are_named(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "gold", gold_labels="train.tsv")
    metrics = json.loads((other / "metrics.json").read_text(encoding="utf-8"))
    metrics["zero_shot"]["enforced"] = False
    (other / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text = render(load_runs([finished_run, other]))
    assert "not zero-shot: gold." in text and "Zero-shot students" not in text
    assert "gold labels none" in text and "gold labels None" not in text


def test_options_of_an_adversary_count_where_there_is_one(finished_run: Path, tmp_path: Path) -> None:
    options = ({"perturb": "none"}, {"perturb": "none", "seed": 1, "mask_rate": 0.9}, {"mask_rate": 0.9})
    others = [variant(finished_run, tmp_path / f"v{i}", **changes) for i, changes in enumerate(options)]
    groups = group_runs(load_runs([finished_run, *others]))
    assert [len(group.runs) for group in groups] == [1, 2, 1]
    assert [group.differs for group in groups] == [
        ("perturb adversarial", "mask rate 0.3"),
        ("perturb none",),
        ("perturb adversarial", "mask rate 0.9"),
    ]


def test_another_task_needs_no_explanation(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "other", task="mrpc", max_length=128)
    groups = group_runs(load_runs([finished_run, other]))
    assert [(group.name, group.differs) for group in groups] == [("sst2", ()), ("mrpc", ())]


def test_options_that_an_older_run_did_not_write_tell_nothing_apart(finished_run: Path, tmp_path: Path) -> None:
    older = variant(finished_run, tmp_path / "older", seed=7)
    config = yaml.safe_load((older / "config.yaml").read_text(encoding="utf-8"))
    del config["anchor_weight"]
    (older / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    assert len(group_runs(load_runs([finished_run, older]))) == 1


def test_the_same_run_counts_once(finished_run: Path) -> None:
    assert len(load_runs([finished_run, f"{finished_run}/."])) == 1


def test_spread() -> None:
    assert spread([0.5]) == (0.5, None)
    assert spread([0.25, 0.75]) == (0.5, statistics.stdev([0.25, 0.75]))
    assert spread([0.5, None]) is None


def test_what_is_no_finished_run_is_said_for_every_folder(finished_run: Path, tmp_path: Path) -> None:
    unfinished = variant(finished_run, tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as raised:
        load_runs([finished_run, unfinished, tmp_path / "empty", tmp_path / "no"])
    first, second, third = raised.value.problems
    assert "finished run" in first and "--resume" in first
    assert "no config.yaml" in second and "no such folder" in third


def test_damaged_files_are_named(finished_run: Path, tmp_path: Path) -> None:
    damaged = variant(finished_run, tmp_path / "damaged")
    (damaged / "analysis.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"analysis\.json: expected JSON"):
        load_run(damaged)
    (damaged / "metrics.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics\.json: expected the results of a run"):
        load_run(damaged)


def test_the_student_folder_is_not_the_run(finished_run: Path) -> None:
    with pytest.raises(InputError, match="did you mean"):
        load_run(finished_run / "student")


def test_command_line(cli, finished_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "page.html"
    done = cli("report", finished_run, "--output", target)
    assert (done.code, done.out) == (0, f"report: {target}\n")
    Page(target.read_text(encoding="utf-8"))
    for arguments, word in (
        ((tmp_path,), "config.yaml"),
        ((finished_run, finished_run), "--output"),
        ((tmp_path / "no",), "no such folder"),
    ):
        done = cli("report", *arguments)
        assert done.code == 2 and word in done.errors[0] and done.out == ""
