"""Checkpoints are checked before they are resumed: damaged ones are passed over or refused, never gone on from."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import as_of_an_older_zskd
from test_trainer import rows, trainer
from transformers.trainer_utils import IntervalStrategy

from zskd import Method, ZeroShotTrainer
from zskd.errors import RunError
from zskd.training import private
from zskd.training.manifest import find_trouble, write_manifest
from zskd.training.resume import best_of, last_checkpoint

Damage = Callable[[Path], object]


class Runs:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


class Kept(Method):
    """A method with a state of its own."""

    name = "kept"

    def state(self) -> dict[str, Any]:
        """As for a resumed run."""
        return {"seen": 3}


class WithState(ZeroShotTrainer):
    """A trainer with `Kept`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, methods=[Kept()], **kwargs)


def made(folder: Path, *, best: bool = True, **arguments: Any) -> Any:
    """A trainer that saves every two of six steps."""
    settings = {"save_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 0.01, **arguments}
    found = trainer(folder, rows(32), cls=WithState, per_device_train_batch_size=8, **settings)
    found.args.save_strategy, found.args.load_best_model_at_end = IntervalStrategy.STEPS, best
    found.args.metric_for_best_model = "loss"
    return found


def weights(of: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder with the checkpoints 2, 4 and 6, and the student's weights; the best one is 2, 4 or 6."""
    folder = tmp_path_factory.mktemp("whole")
    found = made(folder)
    found.train()
    return folder, weights(found)


@pytest.fixture
def copied(whole: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> Path:
    """A copy of the folder."""
    return Path(shutil.copytree(whole[0], tmp_path / "copied"))


def flip(name: str) -> Damage:
    def damage(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        content[len(content) * 2 // 3] ^= 4
        (checkpoint / name).write_bytes(bytes(content))

    return damage


def cut(name: str) -> Damage:
    return lambda checkpoint: (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:-9])


def lose(name: str) -> Damage:
    return lambda checkpoint: (checkpoint / name).unlink()


def folder_instead(name: str) -> Damage:
    def damage(checkpoint: Path) -> None:
        (checkpoint / name).unlink()
        (checkpoint / name).mkdir()

    return damage


def junk(name: str, text: str) -> Damage:
    return lambda checkpoint: (checkpoint / name).write_text(text, encoding="utf-8")


DAMAGE: dict[str, tuple[Damage, str]] = {
    "a bit of the weights": (flip("model.safetensors"), "model.safetensors: expected the checksum"),
    "a cut optimizer": (cut("optimizer.pt"), "optimizer.pt: expected .* bytes, found"),
    "no optimizer": (lose("optimizer.pt"), "optimizer.pt: expected a file, found none"),
    "no random state": (lose("rng_state.pth"), "rng_state.pth: expected a file, found none"),
    "no sums": (lose("so_far.json"), "so_far.json: expected a file, found none"),
    "a bit of a method's state": (flip("kept/state.pt"), "kept/state.pt: expected the checksum"),
    "a folder for the schedule": (folder_instead("scheduler.pt"), "scheduler.pt: expected a file, found a folder"),
    "a file that nobody wrote": (
        lambda path: (path / "scaler.pt").write_bytes(b"x"),
        "scaler.pt: expected no such file, as manifest.json does not list it",
    ),
    "a cut state": (cut("trainer_state.json"), "trainer_state.json: expected .* bytes, found"),
    "no manifest": (lose("manifest.json"), "cut short: it has no manifest.json"),
    "neither manifest nor state": (
        lambda path: (lose("manifest.json")(path), lose("trainer_state.json")(path)),
        "cut short: it has no trainer_state.json",
    ),
    "a cut manifest": (cut("manifest.json"), "manifest.json: expected checksums, found: "),
    "an empty manifest": (junk("manifest.json", '{"files": {}}'), "manifest.json: expected checksums of weights"),
    "another manifest": (junk("manifest.json", '["files"]'), "manifest.json: expected checksums, found: "),
    "nested brackets": (junk("manifest.json", "[" * 10**5), "manifest.json: expected checksums, found: "),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_the_older_checkpoint_taken_and_where_there_is_none_resuming_is_refused(
    copied: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, why = DAMAGE[kind]
    assert all(find_trouble(path) is None for path in copied.iterdir())
    damage(copied / "checkpoint-6")
    assert last_checkpoint(copied, best=False, own=False) == copied / "checkpoint-4"
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.search(f"checkpoint-6: passed over: .*{why}.*kept as passed-over-checkpoint-6", said)
    assert {path.name for path in copied.iterdir()} == {"checkpoint-2", "checkpoint-4", "passed-over-checkpoint-6"}
    for name in ("checkpoint-2", "checkpoint-4"):
        damage(copied / name)
    with pytest.raises(RunError, match=f"found none .checkpoint-4: .*{why}.*; checkpoint-2: .*remove .* to train from"):
        last_checkpoint(copied, best=False, own=False)
    assert (copied / "checkpoint-4").is_dir()


def test_a_first_checkpoint_that_was_cut_short_is_no_checkpoint(copied: Path) -> None:
    for name in ("checkpoint-4", "checkpoint-6"):
        shutil.rmtree(copied / name)
    (copied / "checkpoint-2" / "manifest.json").unlink()
    assert last_checkpoint(copied, best=True, own=True) is None
    assert not list(copied.iterdir())
    assert last_checkpoint(copied / "none", best=True, own=True) is None


def test_the_best_checkpoint_is_needed_where_the_end_loads_it(copied: Path) -> None:
    for step, best in ((4, 2), (6, 4)):
        state = copied / f"checkpoint-{step}" / "trainer_state.json"
        content = json.loads(state.read_text(encoding="utf-8"))
        content["best_model_checkpoint"] = f"/elsewhere/checkpoint-{best}"
        state.write_text(json.dumps(content), encoding="utf-8")
        write_manifest(state.parent)
    assert best_of(copied / "checkpoint-6") == copied / "checkpoint-4"
    flip("optimizer.pt")(copied / "checkpoint-4")  # the best student does not need it
    assert last_checkpoint(copied, best=True, own=True) == copied / "checkpoint-6"
    flip("model.safetensors")(copied / "checkpoint-4")
    assert last_checkpoint(copied, best=False, own=True) == copied / "checkpoint-6"
    assert last_checkpoint(copied, best=True, own=True) == copied / "checkpoint-2"
    assert (copied / "passed-over-checkpoint-6").is_dir() and (copied / "passed-over-checkpoint-4").is_dir()


def test_a_best_checkpoint_that_was_removed_for_a_better_one_is_not_missed(copied: Path) -> None:
    for step, best in ((4, 2), (6, 6)):
        state = copied / f"checkpoint-{step}" / "trainer_state.json"
        content = json.loads(state.read_text(encoding="utf-8"))
        content["best_model_checkpoint"] = f"/elsewhere/checkpoint-{best}"
        state.write_text(json.dumps(content), encoding="utf-8")
        write_manifest(state.parent)
    shutil.rmtree(copied / "checkpoint-2")
    flip("optimizer.pt")(copied / "checkpoint-6")
    shutil.copytree(copied, copied.with_name("unknown"))
    assert last_checkpoint(copied, best=True, own=True) == copied / "checkpoint-4"
    flip("trainer_state.json")(copied.with_name("unknown") / "checkpoint-6")  # then nobody knows
    with pytest.raises(RunError, match="the best checkpoint up to it, checkpoint-2, is not there"):
        last_checkpoint(copied.with_name("unknown"), best=True, own=True)


def test_a_checkpoint_under_another_name_is_not_taken_for_that_step(copied: Path) -> None:
    shutil.rmtree(copied / "checkpoint-6")
    shutil.copytree(copied / "checkpoint-4", copied / "checkpoint-6")
    assert "that of step 4" in str(find_trouble(copied / "checkpoint-6"))
    shutil.copytree(copied / "checkpoint-4", copied / "mine")
    assert find_trouble(copied / "mine") is None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("", None),
        ("optimizer.pt", lose),
        ("scheduler.pt", lose),
        ("rng_state.pth", lose),
        ("model.safetensors", lose),
        ("model.safetensors", cut),
        ("optimizer.pt", flip),
        ("kept/state.pt", cut),
        ("so_far.json", cut),
    ],
)
def test_a_checkpoint_without_a_manifest_is_adopted_if_it_is_complete(
    copied: Path, name: str, damage: Callable[[str], Damage] | None
) -> None:
    checkpoint = copied / "checkpoint-6"
    as_of_an_older_zskd(checkpoint)
    assert find_trouble(checkpoint) is None
    if damage is not None:
        damage(name)(checkpoint)
        trouble = find_trouble(checkpoint)
        assert trouble is not None and trouble.finished and name in trouble.why


def test_resuming_from_an_older_checkpoint_gives_the_same_student(whole, copied: Path, caplog) -> None:
    flip("optimizer.pt")(copied / "checkpoint-6")
    flip("model.safetensors")(copied / "checkpoint-4")
    resumed = made(copied)
    resumed.train(resume_from_checkpoint=True)
    assert "checkpoint-4: passed over" in caplog.text and "checkpoint-6: passed over" in caplog.text
    assert same(weights(resumed), whole[1])
    assert find_trouble(copied / "checkpoint-6") is None


def test_a_named_checkpoint_that_is_damaged_is_refused_before_weights_are_loaded(copied: Path) -> None:
    flip("rng_state.pth")(copied / "checkpoint-4")
    resumed = made(copied)
    before = weights(resumed)
    with pytest.raises(RunError, match=r"checkpoint-4: expected .* as it was written, found another: rng_state\.pth"):
        resumed.train(resume_from_checkpoint=str(copied / "checkpoint-4"))
    assert same(before, weights(resumed))


def test_the_best_checkpoint_is_checked_again_before_the_end_loads_it(tmp_path: Path, monkeypatch) -> None:
    found = made(tmp_path)
    whole = private.PrivateTrainer._finalize_training

    def damaged(self: Any, *args: Any) -> Any:
        flip("model.safetensors")(Path(self.state.best_model_checkpoint))
        return whole(self, *args)

    monkeypatch.setattr(private.PrivateTrainer, "_finalize_training", damaged)
    with pytest.raises(RunError, match=r"expected the best checkpoint as it was written, .* model\.safetensors: .*"):
        found.train()


def test_older_checkpoints_are_there_until_the_manifest_of_the_new_one_is(tmp_path: Path, monkeypatch) -> None:
    found = made(tmp_path, save_total_limit=1, best=False)
    there: list[set[str]] = []
    whole = private.write_manifest

    def noting(checkpoint: Path) -> None:
        there.append({path.name for path in tmp_path.iterdir()})
        assert (checkpoint / "trainer_state.json").is_file() and not (checkpoint / "manifest.json").exists()
        whole(checkpoint)

    monkeypatch.setattr(private, "write_manifest", noting)
    found.train()
    assert there == [{"checkpoint-2"}, {"checkpoint-2", "checkpoint-4"}, {"checkpoint-4", "checkpoint-6"}]
    # At its end Trainer leaves the best of them alone.
    assert [*tmp_path.iterdir()] == [Path(found.state.best_model_checkpoint)] and found.args.save_total_limit == 1


def test_a_checkpoint_that_would_run_code_is_refused_although_its_checksums_are_right(
    copied: Path, tmp_path: Path
) -> None:
    checkpoint = copied / "checkpoint-4"
    (checkpoint / "scaler.pt").write_bytes(pickle.dumps(Runs(str(tmp_path / "marker"))))
    write_manifest(checkpoint)
    with pytest.raises(RunError, match=r"checkpoint-4: expected the checkpoint of a training in this precision"):
        made(copied).train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "scaler.pt").unlink()
    (checkpoint / "scheduler.pt").write_bytes(pickle.dumps(Runs(str(tmp_path / "marker"))))
    write_manifest(checkpoint)
    with pytest.raises(RunError, match=r"checkpoint-4: expected tensors and plain values, found a file that would"):
        made(copied).train(resume_from_checkpoint=str(checkpoint))
    assert not (tmp_path / "marker").exists()
