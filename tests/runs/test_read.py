"""One reader of run folders: what is no finished run, or a damaged one, is said the same way to every verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zskd.errors import InputError
from zskd.runs.read import check_student, read_part, read_run


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "expected JSON"), ("[]", "found a list"), ("{}", "found no task, seed"), (b"\xff", "expected JSON")],
)
def test_damaged_results_are_named(run_copy: Path, content: str | bytes, says: str) -> None:
    path = run_copy / "metrics.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"metrics\.json: ") as raised:
        read_run(run_copy)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_options_of_something_else(run_copy: Path) -> None:
    (run_copy / "config.yaml").write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml: expected the options of a distillation, found no task"):
        read_run(run_copy)


def test_an_unfinished_run_comes_with_the_command_that_finishes_it(run_copy: Path) -> None:
    (run_copy / "metrics.json").unlink()
    (run_copy / "record.json").unlink()
    with pytest.raises(InputError, match=r"found no metrics\.json in it; finish it with `zskd distill .* --resume`"):
        read_run(run_copy)
    with pytest.raises(InputError, match=r"found no metrics\.json, record\.json in it"):
        read_run(run_copy, needs=("record.json", "student"))


def test_what_an_older_zskd_did_not_write_is_missing_and_no_error(run_copy: Path) -> None:
    for name in ("record.json", "analysis.json", "transfer_set.json"):
        (run_copy / name).unlink()
    run = read_run(run_copy)
    assert (run.record, run.analysis, run.transfer_set) == ({}, None, None)


def test_a_part_is_read_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('[{"step": 1}]', encoding="utf-8")
    (tmp_path / "folder.json").mkdir()
    assert read_part(tmp_path, "history.json", list) == [{"step": 1}] and read_part(tmp_path, "none.json") is None
    for name in ("history.json", "folder.json"):
        with pytest.raises(InputError, match=name):
            read_part(tmp_path, name)


def test_another_student_than_the_run_ended_with_is_refused(run_copy: Path, cli) -> None:
    check_student(run_copy)
    weights = run_copy / "student" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1  # one bit, with which it still loads
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"model\.safetensors: expected the weights that the run ended with, found o"):
        check_student(run_copy)
    for words in (["predict", "--model", run_copy], ["publish", run_copy, "--repo-id", "me/small", "--dry-run"]):
        done = cli(*words)
        assert done.code == 2 and "expected the weights that the run ended with" in done.errors[0]
    weights.unlink()
    with pytest.raises(InputError, match="ended with, found none"):
        check_student(run_copy)
    metrics = json.loads((run_copy / "metrics.json").read_text(encoding="utf-8"))
    del metrics["student"]["sha256"]
    (run_copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    check_student(run_copy)  # of an earlier version
