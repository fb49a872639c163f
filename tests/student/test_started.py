"""Students that begin with a start: the packaged one where it fits, said and recorded, and nowhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import as_flags
from safetensors.torch import load_file
from transformers import AutoModel

from recipes.package_start import package
from zskd.config.distillation import DistillConfig
from zskd.config.pretraining import PretrainConfig
from zskd.errors import InputError
from zskd.models.loading import model_fingerprint
from zskd.pipeline import distill
from zskd.pretrain import Start, pretrain
from zskd.publish.origins import reproducing_command
from zskd.publish.run_card import run_card
from zskd.report.data import load_run
from zskd.report.facts import facts
from zskd.runs import start_record
from zskd.runs.start_record import SENTENCES, WEIGHTS, open_start, packaged_starts, read_start, write_record
from zskd.student.started import chosen_start, started_student
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, load_classifier
from zskd.text.sentence_hashes import sentence_hashes

SST2, MRPC = TASKS["sst2"], TASKS["mrpc"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, passages_file: Path) -> Start:
    """A start that takes nearly all of half of the teacher."""
    folder = tmp_path_factory.mktemp("made")
    return pretrain(
        PretrainConfig(
            backbone=str(teacher_folder), compression=2.0, inputs="both", corpus=[str(passages_file)], heldout=48,
            max_length=48, steps=4, batch_size=32, checkpoints=1, precision="fp32", output_dir=str(folder / "start"),
            cache_dir=str(folder / "cache"),
        )
    )  # fmt: skip


@pytest.fixture
def packaged(made: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the same start as if zskd came with it."""
    assets = tmp_path / "starts"
    monkeypatch.setattr(start_record, "PACKAGED", assets)
    return package(made.folder, assets=assets)


def test_a_packaged_start_is_its_source_rounded_to_halves(made: Start, packaged: Path) -> None:
    assert sorted(path.name for path in packaged.iterdir()) == sorted(
        ["config.json", "pretraining.json", WEIGHTS, SENTENCES]
    ), "no tokenizer"
    assert {value.dtype for value in load_file(packaged / WEIGHTS).values()} == {torch.float16}
    before, after = (AutoModel.from_pretrained(path, dtype=torch.float32) for path in (made.folder, packaged))
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=2**-10, atol=1e-7, msg=name)
    record = read_start(packaged)
    assert record["fingerprint"] == model_fingerprint(after) != made.record["fingerprint"]
    same = ("made_of", "vocabulary", "tokens", "heldout_error", "sources", "trained_on")
    assert {name: record[name] for name in same} == {name: made.record[name] for name in same}


def test_what_is_too_large_is_not_packaged(made: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.package_start.MOST_WEIGHTS", {"embedded": 10})
    with pytest.raises(SystemExit, match="expected at most 10 bytes"):
        package(made.folder, assets=tmp_path / "starts")
    assert not (tmp_path / "starts" / "embedded" / "both").exists()


def test_a_start_knows_what_it_has_read_and_keeps_no_text(made: Start, passages_file: Path) -> None:
    hashes = made.hashes
    assert hashes is not None and len(hashes) > 100
    first = passages_file.read_text(encoding="utf-8").split(".")[0].strip() + "."
    assert sentence_hashes([first])[0] in hashes
    assert made.record["sources"] == {passages_file.name: next(iter(made.record["sources"].values()))}
    (made.folder / SENTENCES).rename(made.folder / "away")
    assert made.hashes is None
    (made.folder / "away").rename(made.folder / SENTENCES)


def test_auto_takes_the_packaged_start_where_it_fits(
    packaged: Path,
    teacher: Classifier,
    teacher_for: Callable[[str], Path],
    shared_cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair_teacher = load_classifier(MRPC, str(teacher_for("mrpc")), shared_cache)
    assert chosen_start(SST2, teacher, 1.9) == "packaged"
    for task, asked, compression, expected in (
        (SST2, teacher, 30.0, "the packaged start makes a student of"),
        (SST2, teacher, 1.2, "and --compression 1.2 allows"),
        (MRPC, pair_teacher, 1.9, "the packaged start has another vocabulary"),
    ):
        caplog.clear()
        with caplog.at_level("INFO", "zskd"):
            assert chosen_start(task, asked, compression) == "none"
        assert "it begins with random layers (--start-from auto)" in caplog.text and expected in caplog.text
    packaged.rename(packaged.with_name("one"))
    with caplog.at_level("INFO", "zskd"):
        assert chosen_start(MRPC, pair_teacher, 1.9) == "none"
    assert "no start is packaged for two texts" in caplog.text
    with pytest.raises(InputError, match="--start-from packaged: no start is packaged for two texts; use --start-from"):
        open_start("packaged", pair=True)


def test_among_packaged_starts_the_vocabulary_of_the_teacher_chooses(packaged: Path) -> None:
    own = read_start(packaged)
    other = packaged.parents[1] / "another" / "two"  # comes first by name
    shutil.copytree(packaged, other)
    write_record(other, {**own, "vocabulary": "of another backbone"})
    assert [start.folder for start in packaged_starts(pair=True)] == [other, packaged]
    assert [start.folder for start in packaged_starts(pair=False)] == [other, packaged]
    assert {start.name for start in packaged_starts(pair=True)} == {"packaged"}
    for vocabulary, expected in ((own["vocabulary"], packaged), ("of another backbone", other), ("of neither", other)):
        assert open_start("packaged", pair=True, vocabulary=vocabulary).folder == expected


def test_a_run_takes_it_says_so_and_counts_what_it_has_read(
    tiny_config: DistillConfig,
    packaged: Path,
    passages_file: Path,
    glue_dir: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = replace(tiny_config, compression=1.9, glue_dir=str(glue_dir))
    with caplog.at_level("INFO", "zskd"):
        result = distill(config)
    assert "student: it begins with the packaged start, which learned the states of" in caplog.text
    assert "rows have a sentence that the start has read" in caplog.text
    record = json.loads((result.run_dir / "record.json").read_text(encoding="utf-8"))
    assert record["student"]["start"]["name"] == "packaged"
    assert record["student"]["start"]["fingerprint"] == read_start(packaged)["fingerprint"]
    assert isinstance(result.metrics["student"]["scores"]["glue"]["start_overlap"], int)
    run = load_run(result.run_dir)
    assert "from the start packaged" in dict(facts(run))["student"]
    card = str(run_card(run, "me/small"))
    assert "have a sentence that the start has read" in card
    assert "--start-from" not in reproducing_command(run), "the default"
    explicit = distill(replace(config, start_from="packaged", output_dir=str(tmp_path / "asked")))
    for name, value in result.student.state_dict().items():
        assert torch.equal(explicit.student.state_dict()[name], value), name
    # A run that goes on begins as it began: not without the start, and not with another.
    (result.run_dir / "metrics.json").unlink()
    again = distill(replace(config, start_from=str(packaged), resume=True))
    assert again.metrics["student"]["sha256"] == result.metrics["student"]["sha256"], "the same start by its folder"
    (result.run_dir / "metrics.json").unlink()
    shutil.rmtree(packaged)
    with pytest.raises(InputError, match=r"--start-from auto: expected the start that the training in .*, found none"):
        distill(replace(config, resume=True))


def test_a_run_that_began_without_a_start_goes_on_without_one(
    tiny_config: DistillConfig, packaged: Path, made: Start
) -> None:
    away = packaged.rename(packaged.with_name("away"))
    config = replace(tiny_config, compression=1.9, optimizer="adamw")
    result = distill(config)
    (result.run_dir / "metrics.json").unlink()
    away.rename(packaged)  # a later version of zskd has one
    with pytest.raises(InputError, match="began with random layers; use --start-from none to continue it"):
        distill(replace(config, resume=True))
    # A run of a version that knew no starts says nothing of them.
    for name, remove in (("record.json", "start"), ("config.yaml", "start_from:"), ("config.yaml", "optimizer:")):
        path = result.run_dir / name
        if name == "record.json":
            record = json.loads(path.read_text(encoding="utf-8"))
            del record["student"][remove]
            path.write_text(json.dumps(record), encoding="utf-8")
        else:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text("".join(line for line in lines if not line.startswith(remove)), encoding="utf-8")
    with pytest.raises(InputError, match="began with random layers; use --start-from none to continue it"):
        distill(replace(config, resume=True))
    done = distill(replace(config, resume=True, start_from="none"))
    assert done.metrics["student"]["sha256"] == result.metrics["student"]["sha256"]


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, SENTENCES, "pretraining.json"])
def test_a_damaged_packaged_start_is_one_line(cli, tiny_config: DistillConfig, packaged: Path, name: str) -> None:
    (packaged / name).write_bytes(b"{")
    done = cli("distill", *as_flags(replace(tiny_config, compression=1.9)))
    assert done.code == 2 and len(done.errors) == 1, done.err
    assert "install zskd again, or use --start-from none" in done.err


def test_packaged_is_refused_where_it_does_not_fit(
    cli, config_for: Callable[..., DistillConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(start_record, "PACKAGED", tmp_path / "none")
    done = cli("distill", *as_flags(config_for("sst2", start_from="packaged")))
    assert done.code == 2 and "--start-from packaged: no start is packaged for single texts" in done.err


def labelled(texts: list[str]) -> list[list[float]]:
    """A teacher of which only the outputs are known."""
    return [[float(len(text) % 2), 0.5] for text in texts]


def test_the_student_of_a_callable_begins_with_a_start(
    made: Start, packaged: Path, tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own tokenizer; the packaged one has its backbone's. No single token is asked for."""
    small = replace(tiny_config, teacher="default", pool_size=128, epochs=1.0, checkpoints=1, resume=False)
    folder = replace(small, start_from=str(made.folder), output_dir=f"{small.output_dir}-folder")
    task = replace(TASKS["sst2"], name="own")  # which has no probe
    found = distill(folder, teacher=labelled, task=task)
    assert found.metrics["teacher_queries_for"]["single_tokens"] == 0
    record = json.loads((found.run_dir / "record.json").read_text(encoding="utf-8"))
    assert record["student"]["start"]["fingerprint"] == made.record["fingerprint"]
    monkeypatch.setattr("zskd.student.started.known_backbone", lambda name: name)
    monkeypatch.setattr("zskd.student.started.fetch_backbone", lambda backbone, cache: made.folder)
    auto = distill(small, teacher=labelled, task=task)
    record = json.loads((auto.run_dir / "record.json").read_text(encoding="utf-8"))
    assert record["student"]["start"]["name"] == "packaged"
    assert auto.tokenizer.get_vocab() == found.tokenizer.get_vocab()
    assert auto.student.config.id2label == {0: "negative", 1: "positive"}


def test_a_start_s_columns_stay_empty_where_no_tokens_are_asked_for(
    made: Start, teacher: Classifier, tmp_path: Path
) -> None:
    tables = []
    for ask_tokens in (True, False):
        student, _, asked, _ = started_student(
            SST2, teacher, str(made.folder), 1.5, "fp32", tmp_path, ask_tokens=ask_tokens
        )
        tables.append(student.get_input_embeddings().weight.detach())
        assert asked == (len(teacher.tokenizer) if ask_tokens else 0)
    assert tables[0][:, 0].abs().sum() > 0 and tables[1][:, 0].abs().sum() == 0
    torch.testing.assert_close(tables[0][:, 1:], tables[1][:, 1:])


def test_a_start_that_has_read_pairs_is_taken_for_single_texts_where_no_tokens_are_asked_for(
    made: Start, packaged: Path, teacher: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    record = read_start(packaged)
    packaged = packaged.rename(packaged.with_name("two"))
    write_record(packaged, {**record, "inputs": "two"})
    with caplog.at_level("INFO", "zskd"):
        assert chosen_start(SST2, teacher, 1.9) == "none" and "no start is packaged for single texts" in caplog.text
    assert chosen_start(SST2, teacher, 1.9, ask_tokens=False) == "packaged"
