"""`zskd finetune`: a teacher from labelled rows, chosen on training rows, scored on dev at the end."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import as_flags, prose, save_model, tiny_bert, word_tokenizer
from labelled_rows import glue_folder, rows_for
from safetensors.torch import load_file
from transformers import BertModel

from zskd.config.verbs import FinetuneConfig
from zskd.finetune import finetune
from zskd.finetune.start import training_precision
from zskd.models.loading import count_parameters
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.phrases import split_rows
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.classifier import load_classifier

SST2 = TASKS["sst2"]
PROBE = read_labelled(SST2, str(SST2.probe_path())).texts[0]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT body without a head, and its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = word_tokenizer(PROBE)
    body: BertModel = tiny_bert(len(tokenizer), SST2.labels).bert
    body.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(base: Path, glue_dir: Path, tmp_path: Path) -> FinetuneConfig:
    """A training that takes about a second."""
    return FinetuneConfig(
        task="sst2", base=str(base), rank=4, glue_dir=str(glue_dir), selection_rows=16, max_length=16,
        epochs=8.0, batch_size=16, learning_rate=0.01, checkpoints=2, precision="fp32",
        output_dir=str(tmp_path / "teacher"), cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


def test_adapter_is_a_teacher_with_a_record(config: FinetuneConfig, base: Path, tmp_path: Path) -> None:
    done = finetune(config)
    teacher = load_classifier(SST2, str(done.folder), tmp_path)
    assert teacher.order == (0, 1)
    assert teacher.model.config.id2label == {0: "negative", 1: "positive"}
    assert json.loads((done.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    assert json.loads((done.folder / "training.json").read_text()) == done.record
    assert done.record["selection_rows"] == 16
    assert done.record["training_rows"] <= 120 - 16
    accuracies = done.record["selection_accuracy"]
    assert accuracies[done.record["chosen"]] == max(accuracies.values()) == 1.0, "the rows are easy"
    assert done.record["scores"]["glue"]["accuracy"] == 1.0
    assert set(done.record["scores"]) == {"probe", "glue"}
    assert done.record["scores"]["glue"]["rows"] == 16


def test_selection_rows_are_never_trained_on(config: FinetuneConfig) -> None:
    rows = read_labelled(SST2, SST2.train_file(str(config.glue_dir)))
    train, selection = split_rows(rows, 16, None, seed=0)
    assert not set(train.texts[0]) & set(selection.texts[0])
    assert set(train.texts[0]) | set(selection.texts[0]) <= set(rows.texts[0])
    known = dict(zip(rows.texts[0], rows.labels, strict=True))
    for part in (train, selection):
        assert [known[text] for text in part.texts[0]] == part.labels
    assert split_rows(rows, 16, 40, seed=0)[0].labels == train.labels[:40]
    assert split_rows(rows, 16, None, seed=1)[1].texts != selection.texts


def test_dev_file_is_opened_only_after_training(config: FinetuneConfig, glue_dir: Path, tmp_path: Path, watch) -> None:
    trail = watch(tmp_path)
    finetune(config)
    files = [path for path, _ in trail.opened]
    dev = glue_dir / "SST-2" / "dev.tsv"
    saved = next(i for i, path in enumerate(files) if path.name == "adapter_config.json")
    assert files.index(glue_dir / "SST-2" / "train.tsv") < saved < files.index(dev)


def test_dev_file_does_not_change_the_teacher(config: FinetuneConfig, glue_dir: Path, tmp_path: Path) -> None:
    first = finetune(config)
    dev = glue_dir / "SST-2" / "dev.tsv"
    dev.write_text("sentence\tlabel\nsomething else\t0\n", encoding="utf-8")
    second = finetune(replace(config, output_dir=str(tmp_path / "again")))
    assert first.record["scores"]["glue"] != second.record["scores"]["glue"]
    weights = [sha256_file(done.folder / "adapter_model.safetensors") for done in (first, second)]
    assert weights[0] == weights[1], "and the same seed twice gives the same adapter"
    other = finetune(replace(config, seed=1, output_dir=str(tmp_path / "other")))
    assert sha256_file(other.folder / "adapter_model.safetensors") != weights[0]


def test_full_weights(config: FinetuneConfig, base: Path, tmp_path: Path) -> None:
    done = finetune(replace(config, full=True, learning_rate=1e-3, epochs=4.0))
    teacher = load_classifier(SST2, str(done.folder), tmp_path)
    assert not (done.folder / "adapter_config.json").exists()
    assert teacher.model.config.id2label == {0: "negative", 1: "positive"}
    before = BertModel.from_pretrained(base).embeddings.word_embeddings.weight
    assert not torch.equal(teacher.model.bert.embeddings.word_embeddings.weight, before)


def test_nothing_else_is_left_behind(config: FinetuneConfig, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    finetune(config)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "teacher", tmp_path / "cache"}


def test_verb_prints_the_scores(cli, config: FinetuneConfig) -> None:
    done = cli("finetune", *as_flags(config))
    assert done.code == 0
    assert "glue (16 rows): accuracy 1.0000" in done.out
    assert f"teacher: {config.output_dir}" in done.out


def test_adapter_distils_and_is_counted_merged(config, base: Path, tiny_config, monkeypatch) -> None:
    folder = finetune(config).folder
    merged = count_parameters(load_classifier(SST2, str(folder), folder).model)
    assert merged == count_parameters(tiny_bert(len(word_tokenizer(PROBE)), SST2.labels))
    monkeypatch.setitem(TASKS, "unprobed", replace(SST2, name="unprobed"))  # four phrases make no teacher
    metrics = distill(replace(tiny_config, task="unprobed", teacher=str(folder), epochs=0.1)).metrics
    assert metrics["teacher"]["parameters"] == merged
    assert metrics["student"]["parameters"] * tiny_config.compression <= merged


def test_broken_training_row_is_named(cli, config: FinetuneConfig, glue_dir: Path) -> None:
    train = glue_dir / "SST-2" / "train.tsv"
    train.write_text("sentence\tlabel\nfine\t1\nfine\tgood\n", encoding="utf-8")
    done = cli("finetune", *as_flags(config))
    assert done.code == 2
    assert f"{train}, line 3" in done.errors[0]
    assert not Path(str(config.output_dir)).exists()


@pytest.mark.parametrize(
    "texts, found",
    [
        (["fine"], "1 and 0 in 1 row(s)"),
        (["fine"] * 50, "0 and 10 in 50 row(s)"),
        ([""] * 50, "0 and 10 in 50 row(s)"),
        (["so " * n for n in range(1, 51)], "0 and 1 in 50 row(s)"),
    ],
    ids=["one row", "one text", "empty texts", "each a part of the next"],
)
def test_too_few_different_rows_are_named(
    texts: list[str], found: str, cli, config: FinetuneConfig, glue_dir: Path
) -> None:
    train = glue_dir / "SST-2" / "train.tsv"
    train.write_text("sentence\tlabel\n" + "".join(f"{text}\t1\n" for text in texts), encoding="utf-8")
    done = cli("finetune", *as_flags(config))
    assert done.code == 2, done.err
    assert f"{train}: expected rows to train on" in done.err and f"found {found}" in done.err
    assert not Path(str(config.output_dir)).exists()


def test_rows_of_one_class_train_nothing(cli, config: FinetuneConfig, glue_dir: Path) -> None:
    train = glue_dir / "SST-2" / "train.tsv"
    train.write_text("sentence\tlabel\n" + "".join(f"film {i}\t1\n" for i in range(40)), encoding="utf-8")
    done = cli("finetune", *as_flags(config))
    assert done.code == 2 and len(done.errors) == 1, done.err
    assert f"{train}: expected training rows of at least two classes, found only positive in" in done.err
    assert not Path(str(config.output_dir)).exists()


@pytest.mark.slow
def test_a_training_that_ends_in_no_number_keeps_nothing(cli, config: FinetuneConfig) -> None:
    done = cli("finetune", *as_flags(config, learning_rate=1e30))
    assert done.code == 1 and len(done.errors) == 1, done.err
    assert "training: expected finite weights, found NaN or infinity after" in done.err
    assert "--learning-rate 1e+30" in done.errors[0]
    assert not Path(str(config.output_dir)).exists()


def test_broken_training_rows_are_left_out_and_counted_if_asked_for(
    cli, config: FinetuneConfig, glue_dir: Path
) -> None:
    for name in ("train.tsv", "dev.tsv"):
        path = glue_dir / "SST-2" / name
        path.write_text(path.read_text(encoding="utf-8") + "too short\n", encoding="utf-8")
    refused = cli("finetune", *as_flags(config))
    assert refused.code == 2
    assert "train.tsv, line 122: expected 2 columns, found 1" in refused.errors[0]
    assert "--skip-bad-rows" in refused.errors[0]
    done = cli("finetune", *as_flags(replace(config, skip_bad_rows=True)))
    assert done.code == 0, done.err
    record = json.loads((Path(str(config.output_dir)) / "training.json").read_text(encoding="utf-8"))
    assert record["skipped_rows"] == 1 and record["scores"]["glue"]["skipped_rows"] == 1
    assert record["scores"]["glue"]["rows"] == 16
    assert done.err.count("1 bad row(s) left out") == 2


def test_a_broken_dev_file_costs_no_teacher(cli, config: FinetuneConfig, glue_dir: Path, tmp_path: Path) -> None:
    dev = glue_dir / "SST-2" / "dev.tsv"
    dev.write_text("sentence\tlabel\nfine\t1\ntoo short\n", encoding="utf-8")
    done = cli("finetune", *as_flags(config))
    assert done.code == 2
    assert f"{dev}, line 3: expected 2 columns, found 1" in done.errors[0] and "--skip-bad-rows" in done.errors[0]
    assert f"kept in {config.output_dir}; score it with `zskd evaluate" in done.errors[1]
    record = json.loads((Path(str(config.output_dir)) / "training.json").read_text(encoding="utf-8"))
    assert record["chosen"] and "scores" not in record
    assert load_classifier(SST2, str(config.output_dir), tmp_path).order == (0, 1)


def matrices(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors of a saved adapter."""
    return load_file(folder / "adapter_model.safetensors")


def test_adapter_starts_from_another(config: FinetuneConfig, tmp_path: Path) -> None:
    source = finetune(config).folder
    still = replace(config, adapter=str(source), learning_rate=0.0, epochs=1.0, seed=3)
    done = finetune(replace(still, output_dir=str(tmp_path / "still")))
    before, after = matrices(source), matrices(done.folder)
    assert before.keys() == after.keys()
    for name, value in after.items():
        assert torch.equal(value, before[name]) == ("lora_" in name), f"{name}: the head is new"
    assert done.record["started_from"] == source.name
    assert str(source) not in json.dumps(done.record)
    trained = finetune(replace(still, learning_rate=0.01, output_dir=str(tmp_path / "trained")))
    assert any(
        not torch.equal(value, before[name]) for name, value in matrices(trained.folder).items() if "lora_" in name
    )


def test_adapter_of_another_rank_is_refused(cli, config: FinetuneConfig, tmp_path: Path) -> None:
    source = finetune(replace(config, epochs=0.2)).folder
    done = cli("finetune", *as_flags(replace(config, adapter=str(source), rank=2, output_dir=str(tmp_path / "no"))))
    assert done.code == 2
    assert len(done.errors) == 1 and f"--adapter {source}" in done.errors[0] and "--rank" in done.errors[0]
    assert not (tmp_path / "no").exists()


def test_three_way_adapter_starts_a_two_way_pair_task(config: FinetuneConfig, tmp_path: Path) -> None:
    for name in ("mnli", "rte"):
        glue_folder(tmp_path / "pairs", TASKS[name], count=80)
    pairs = replace(config, glue_dir=str(tmp_path / "pairs"), epochs=1.0)
    source = finetune(replace(pairs, task="mnli", output_dir=str(tmp_path / "mnli"))).folder
    done = finetune(
        replace(pairs, task="rte", adapter=str(source), learning_rate=0.0, output_dir=str(tmp_path / "rte"))
    )
    assert all(
        torch.equal(value, matrices(source)[name]) for name, value in matrices(done.folder).items() if "lora_" in name
    )
    teacher = load_classifier(TASKS["rte"], str(done.folder), tmp_path)
    assert tuple(teacher.model.config.id2label.values()) == TASKS["rte"].labels
    assert set(done.record["scores"]) == {"probe", "glue"}


def test_float16_is_for_training_on_a_gpu(cli, config: FinetuneConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zskd.finetune.start.pick_device", lambda: torch.device("cpu"))
    monkeypatch.delattr("zskd.finetune.start.load_head")  # it ends before there are any
    done = cli("finetune", *as_flags(replace(config, precision="fp16")))
    assert done.code == 2
    (error,) = done.errors
    assert "--precision fp16: expected a CUDA device" in error and "use --precision bf16, fp32 or auto" in error
    assert not Path(str(config.output_dir)).exists()


@pytest.mark.parametrize("native", [False, True])
def test_on_a_gpu_16_bits_are_those_it_has(
    native: bool, config: FinetuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zskd.finetune.start.pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    given = {}

    def arguments(*_: object, **options: object) -> None:
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("zskd.finetune.classifier_trainer.TrainingArguments", arguments)
    with pytest.raises(KeyboardInterrupt):
        finetune(replace(config, precision="auto"))
    assert (given["bf16"], given["fp16"]) == (native, not native)


def test_16_bits_train_and_32_bits_score(config: FinetuneConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[tuple[str, torch.dtype]] = set()

    def note(module: torch.nn.Module, _: object, output: object) -> None:
        if isinstance(module, torch.nn.Linear) and isinstance(output, torch.Tensor):
            found.add(("training" if torch.is_grad_enabled() else "scores", output.dtype))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        for precision in ("bf16", "fp32"):
            output = str(Path(str(config.output_dir)) / precision)
            record = finetune(replace(config, precision=precision, epochs=1.0, output_dir=output)).record
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            assert found == {("training", dtype), ("scores", torch.float32)}
            assert record["precision"] == record["options"]["precision"] == precision
            found.clear()
    finally:
        hook.remove()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert training_precision("auto") == "bf16"


def test_the_log_says_when_a_training_will_end(cli, config: FinetuneConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zskd.training.log.EvaluationLog.FIRST", 0.0)
    done = cli("finetune", *as_flags(replace(config, epochs=1.0)))
    steps = [line for line in done.err.splitlines() if line.startswith("step ")]
    assert re.fullmatch(r"step 1 of 7: \d+ s so far, about \d+ s left", steps[0])
    # How many more lines without scores there are depends on the machine's pace.
    scored = [line for line in steps if "on the selection rows" in line]
    assert re.fullmatch(
        r"step 3 of 7: loss .* accuracy .* on the selection rows; \d+ s so far, about \d+ s left", scored[0]
    )
    assert (
        re.fullmatch(r"step 7 of 7: loss .* on the selection rows; \d+ s so far", scored[-1])
        and scored[-1] == steps[-1]
    )
    assert sum(line.startswith("step 7 ") for line in steps) == 1, "candidates are no steps"
    assert "training: 7 steps; chosen: mean of last 2, accuracy " in done.err
    assert "'loss'" not in done.out + done.err and "it/s" not in done.err, "neither Trainer's log nor a bar"


def test_task_of_ones_own_gets_a_teacher(config: FinetuneConfig, own_tasks: dict[str, str], tmp_path: Path) -> None:
    task = find_task(own_tasks["topics"])
    glue = glue_folder(tmp_path / "labelled", task, count=120)
    tokenizer = word_tokenizer(prose(600))
    folder = save_model(tmp_path / "wide", tiny_bert(len(tokenizer), task.labels).bert, tokenizer)
    own = replace(config, task=own_tasks["topics"], glue_dir=str(glue), base=str(folder), max_length=None)
    done = finetune(replace(own, full=True, learning_rate=3e-3))
    assert done.record["options"]["max_length"] == task.max_length
    assert set(done.record["scores"]) == {"probe", "dev"}
    assert done.record["scores"]["dev"]["accuracy"] > done.record["scores"]["dev"]["majority"] + 0.2
    teacher = load_classifier(task, str(done.folder), tmp_path)
    assert teacher.order == tuple(range(5))


def test_rows_come_from_the_hub_where_no_folder_is_given(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rows(task: Task, split: str, *, flag: str) -> Labelled:
        asked.append((task.name, split, (tmp_path / "teacher" / "adapter_config.json").is_file()))
        return rows_for(task, 90 if split == "train" else 24)

    for module in ("start", "teacher_scores"):
        monkeypatch.setattr(f"zskd.finetune.{module}.hub_rows", rows)
    done = finetune(replace(config, task="mnli", glue_dir=None, epochs=1.0))
    assert asked == [
        ("mnli", "train", False), ("mnli", "validation_matched", True), ("mnli", "validation_mismatched", True),
    ], "the dev sets are read when the teacher is saved"  # fmt: skip
    assert done.record["training_rows"] + done.record["selection_rows"] <= 90
    for name in TASKS["mnli"].hub_splits:
        assert done.record["scores"][name]["rows"] == 24


def test_without_a_folder_and_a_network_nothing_is_written(cli, config: FinetuneConfig, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    done = cli("finetune", *as_flags(config, glue_dir=None))
    assert done.code == 2
    assert len(done.errors) == 1 and "--glue-dir" in done.errors[0]
    assert not Path(str(config.output_dir)).exists()


def test_a_teacher_says_what_it_was_trained_on_and_what_was_cut(config: FinetuneConfig, tmp_path: Path) -> None:
    done = finetune(replace(config, full=True, max_length=8))
    assert done.record["max_length"] == 8 and set(done.record["cut"]) == {"training", "selection", "probe", "glue"}
    teacher = load_classifier(SST2, str(done.folder), tmp_path)
    rows = read_labelled(SST2, SST2.glue_files(str(config.glue_dir))["glue"])
    expected = sum(len(ids) > 8 for ids in teacher.tokenizer(rows.texts[0])["input_ids"])
    assert done.record["cut"]["glue"] == expected and done.record["cut"]["probe"] > 0
    saved = json.loads((done.folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert teacher.trained_length == 8 and teacher.reading_length == 128 == saved["truncation"]["max_length"]


def test_an_adapter_keeps_the_length_of_its_own_training(config: FinetuneConfig, tmp_path: Path) -> None:
    done = finetune(replace(config, max_length=8))
    assert load_classifier(SST2, str(done.folder), tmp_path).trained_length == 8
