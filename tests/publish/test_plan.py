"""What would be published: the student's own files and the card, whatever else lies beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CANARY
from safetensors.torch import load_file, save_file

from zskd.errors import InputError
from zskd.publish import Options, plan

FILES = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def refused(cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`zskd publish ARGUMENTS` ends with code 2 and one message; the client is offline, so asking would be seen."""
    monkeypatch.setenv("HF_TOKEN", CANARY)

    def run(*arguments: object, says: str) -> None:
        done = cli("publish", *arguments)
        assert done.code == 2 and len(done.errors) == 1 and says in done.errors[0], done.err
        assert "Traceback" not in done.err and CANARY not in done.out + done.err and "OFFLINE" not in done.err

    return run


def plant(run: Path) -> None:
    """Everything that must stay: in the run folder, in the student's, and with names that look like a model's."""
    student = run / "student"
    for name in (
        "optimizer.pt", "scheduler.pt", "training_args.bin", "trainer_state.json", "pytorch_model.bin", ".env",
        "model.safetensors.bak", "model-00001-of-00002.safetensors", "adapter_model.safetensors", "README.md",
        "vocabulary.txt", "custom_code.py", "events.out.tfevents.1",
    ):  # fmt: skip
        (student / name).write_text(f"planted {CANARY}")
    for folder in ("generator", "_cache", ".cache", "checkpoint-7"):
        (student / folder).mkdir()
        (student / folder / "model.safetensors").write_text("planted")
        (student / folder / "config.json").write_text("{}")
        shutil.copytree(student / folder, run / folder)
    (run / "corpus.txt").write_text("planted")
    (run / "secret.txt").write_text(CANARY)


def test_nothing_but_the_students_files_and_the_card(run_copy: Path) -> None:
    plant(run_copy)
    planned = plan(run_copy, Options("me/small"))
    assert list(planned.files) == FILES
    for name, content in planned.files.items():
        data = content.read_bytes() if isinstance(content, Path) else content
        assert b"planted" not in data and CANARY.encode() not in data
        assert name == "README.md" or content == run_copy / "student" / name


def test_dry_run_names_every_file_with_its_size_and_needs_neither_token_nor_network(
    cli, run_copy: Path, monkeypatch
) -> None:
    plant(run_copy)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    before = sorted(run_copy.rglob("*"))
    done = cli("publish", run_copy, "--repo-id", "me/small", "--dry-run")
    assert done.code == 0 and "me/small (private)" in done.out
    lines = [line.split() for line in done.out.splitlines()[1:]]
    shown = {words[0]: int(words[-2].replace(",", "")) for words in lines}
    total = shown.pop("5")
    assert list(shown) == FILES and sum(shown.values()) == total
    assert shown["model.safetensors"] == (run_copy / "student" / "model.safetensors").stat().st_size
    assert sorted(run_copy.rglob("*")) == before


def test_published_files_know_nothing_of_this_machine(run_copy: Path, published_run: Path) -> None:
    for name, content in plan(run_copy, Options("me/small")).files.items():
        data = content.read_bytes() if isinstance(content, Path) else content
        for path in (published_run.parent, run_copy.parent, Path.home(), Path.cwd()):
            assert str(path).encode() not in data, name


def test_shards_are_those_of_the_index(run_copy: Path) -> None:
    student = run_copy / "student"
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (student / "model.safetensors").rename(student / names[0])
    shutil.copy(student / names[0], student / names[1])
    shutil.copy(student / names[0], student / "model-00003-of-00003.safetensors")
    index = student / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    metrics = json.loads((run_copy / "metrics.json").read_text(encoding="utf-8"))
    metrics["student"]["sha256"] = None  # as for a student that is saved in shards
    (run_copy / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    files = plan(run_copy, Options("me/small")).files
    assert [name for name in files if "model" in name] == [*names, index.name]


@pytest.mark.parametrize("shard", ["../../../secret.txt", "/etc/passwd", "secret.safetensors", 7])
def test_an_index_names_nothing_but_shards(run_copy: Path, refused, shard: object) -> None:
    (run_copy / "student" / "model.safetensors").unlink()
    (run_copy / "student" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    refused(run_copy, "--repo-id", "me/small", says="model.safetensors.index.json: expected")


def test_links_are_not_followed(run_copy: Path, refused, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    (run_copy / "student" / "vocab.txt").symlink_to(tmp_path / "secret")
    refused(run_copy, "--repo-id", "me/small", says="vocab.txt: expected a file, found a link")


def test_a_student_folder_that_is_a_link_is_not_followed(run_copy: Path, refused, tmp_path: Path) -> None:
    (run_copy / "student").rename(tmp_path / "elsewhere")
    (run_copy / "student").symlink_to(tmp_path / "elsewhere")
    refused(run_copy, "--repo-id", "me/small", says="student: expected a folder, found a link")


@pytest.mark.parametrize("token", [CANARY, f"api_{CANARY}", f"api_org_{CANARY[3:]}"])
def test_a_token_in_the_header_of_the_weights_is_found(run_copy: Path, refused, token: str) -> None:
    path = run_copy / "student" / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    save_file(weights, path, metadata={"format": "pt", "note": f"made with {token}"})
    refused(run_copy, "--repo-id", "me/small", "--dry-run", says="model.safetensors seems to contain a Hub token")


def test_a_token_in_a_published_file_is_found(run_copy: Path, refused) -> None:
    path = run_copy / "student" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": CANARY}))
    refused(run_copy, "--repo-id", "me/small", "--dry-run", says="tokenizer_config.json seems to contain a Hub token")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("config.yaml", "found no config.yaml"),
        ("metrics.json", "expected a finished run, found no metrics.json"),
        ("record.json", "expected a finished run, found no record.json"),
        ("student", "expected a finished run, found no student"),
        ("student/config.json", "config.json: expected a file of a saved model, found none"),
        ("student/model.safetensors", "model.safetensors: expected a file of a saved model, found none"),
        ("student/tokenizer.json", "expected a tokenizer"),
    ],
)
def test_unfinished_runs(run_copy: Path, refused, missing: str, says: str) -> None:
    path = run_copy / missing
    path.unlink() if path.is_file() else shutil.rmtree(path)
    refused(run_copy, "--repo-id", "me/small", says=says)


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.json", "{"), ("metrics.json", "[]"), ("record.json", '{"task": {}}'), ("config.yaml", "a: [")],
)
def test_damaged_runs(run_copy: Path, refused, name: str, content: str) -> None:
    (run_copy / name).write_text(content)
    refused(run_copy, "--repo-id", "me/small", says="zskd")


@pytest.mark.parametrize("name", ["small", "me/", "/small", "a/b/c", "me/small.git", "me/sm all", "me/a--b", "-/x"])
def test_wrong_repository_names(run_copy: Path, refused, name: str) -> None:
    refused(run_copy, f"--repo-id={name}", says="expected USER/NAME")


def test_folders_that_are_no_run(run_copy: Path, refused, tmp_path: Path) -> None:
    refused(tmp_path / "none", "--repo-id", "me/small", says="expected the folder of a finished run, found none")
    refused(run_copy / "student", "--repo-id", "me/small", says="name the run's folder, not the student's")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\n{{ card_data }}\n---\n{{ mising }}", "'mising' is undefined"),
        ("---\n{{ card_data }}\n---\n{% if %}", "line 4"),
        ("---\n{{ card_data }}\n---\n{{ 1 / 0 }}", "division by zero"),
        ("---\n{{ card_data }}\n---\n{{ ''.__class__.__mro__ }}", "unsafe"),
        ("no metadata", "expected `---`"),
    ],
)
def test_card_template_errors(run_copy: Path, refused, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "card.jinja").write_text(text)
    refused(run_copy, "--repo-id", "me/small", "--template", tmp_path / "card.jinja", says=says)
    refused(run_copy, "--repo-id", "me/small", "--template", tmp_path / "other.jinja", says="found none")


def test_other_wrong_options(run_copy: Path, refused, tmp_path: Path) -> None:
    refused(run_copy, "--repo-id", "me/small", "--license", "My Own", says="--license My Own")
    refused(run_copy, "--repo-id", "me/small", "--eval-results", says="was not scored on nyu-mll/glue")
    refused(run_copy, "--repo-id", "me/small", "--token-file", tmp_path / "none", says="expected a file, found none")
    (tmp_path / "token").write_text(f"{CANARY}\n{CANARY}")
    refused(run_copy, "--repo-id", "me/small", "--token-file", tmp_path / "token", says="characters that no token has")


def test_no_token(run_copy: Path, refused, monkeypatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    refused(run_copy, "--repo-id", "me/small", says="expected a token with write access, found none")


def test_distill_finds_what_is_wrong_with_publishing_before_it_starts(cli, tiny_config, monkeypatch) -> None:
    from conftest import as_flags

    monkeypatch.setenv("HF_TOKEN", CANARY)
    for arguments, says in (
        (["--publish", "small"], "--publish small: expected USER/NAME"),
        (["--public"], "--public:"),
    ):
        done = cli("distill", *as_flags(tiny_config), *arguments)
        assert done.code == 2 and says in done.errors[0] and not Path(str(tiny_config.output_dir)).exists()


def test_a_student_that_says_several_labels_is_not_published(refused, run_copy: Path) -> None:
    path = run_copy / "student" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    assert config["problem_type"] == "single_label_classification"
    path.write_text(json.dumps(config | {"problem_type": "multi_label_classification"}), encoding="utf-8")
    refused(run_copy, "--repo-id", "me/small", "--dry-run", says="problem_type 'multi_label_classification'")


def test_a_length_that_an_earlier_version_left_in_the_tokenizer_is_not_published(run_copy: Path) -> None:
    path = run_copy / "student" / "tokenizer.json"
    now = json.loads(path.read_text(encoding="utf-8"))
    limit = json.loads((run_copy / "student" / "tokenizer_config.json").read_text(encoding="utf-8"))["model_max_length"]
    assert now["truncation"]["max_length"] == limit and now["padding"] is None
    for left in ({**now["truncation"], "max_length": 64}, None):
        path.write_text(
            json.dumps(now | {"truncation": left, "padding": {"strategy": "BatchLongest"}}), encoding="utf-8"
        )
        content = plan(run_copy, Options("me/small")).files["tokenizer.json"]
        assert isinstance(content, bytes) and json.loads(content) == now
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer\.json: expected JSON"):
        plan(run_copy, Options("me/small"))


def test_onnx_models_go_along_with_lines_of_javascript(run_copy: Path, refused, cli) -> None:
    asked = Options("me/mine", onnx=True)
    with pytest.raises(
        InputError, match=r"--onnx: expected an export in .*export, found none; make it with `zskd export"
    ):
        plan(run_copy, asked)
    assert cli("export", run_copy, "--quantize", "int8", "--quiet").code == 0
    found = plan(run_copy, asked)
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx"} <= set(found.files)
    assert set(found.files) - {"onnx/model.onnx", "onnx/model_quantized.onnx"} == set(
        plan(run_copy, Options("me/mine")).files
    )
    card = bytes(found.files["README.md"]).decode()
    assert 'pipeline("text-classification", "me/mine", { dtype: "q8" })' in card and "- transformers.js" in card
    assert "transformers.js" not in bytes(plan(run_copy, Options("me/mine")).files["README.md"]).decode()
    (run_copy / "export" / "onnx" / "model_quantized.onnx").unlink()
    assert 'dtype: "fp32"' in bytes(plan(run_copy, asked).files["README.md"]).decode()
    path = run_copy / "export" / "export.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["weights"], "0" * 64))
    with pytest.raises(InputError, match="expected an export of the run's student"):
        plan(run_copy, asked)
    (run_copy / "export" / "onnx" / "model.onnx").rename(run_copy / "m.onnx")
    (run_copy / "export" / "onnx" / "model.onnx").symlink_to(run_copy / "m.onnx")
    with pytest.raises(InputError, match=r"--onnx"):
        plan(run_copy, asked)
