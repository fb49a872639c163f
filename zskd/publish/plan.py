"""The plan of a publication: the student's files and its card, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zskd.errors import InputError
from zskd.hub.model_files import model_files
from zskd.hub.upload import CARD, Content, check_repo_id
from zskd.models.folder_checks import student_length
from zskd.models.labels import check_saved_head, read_model_config
from zskd.publish.metadata import evaluation_entries
from zskd.publish.run_card import run_card
from zskd.runs.read import FinishedRun, as_this_version_writes, check_student, read_part, read_run
from zskd.system.paths import expanded, is_file

TOKENIZER = "tokenizer.json"
EVALUATION = ".eval_results/glue.yaml"
LARGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_TOKEN = re.compile(rb"(?<![A-Za-z0-9])(?:api_)?hf_[A-Za-z0-9]{20,}|(?<![A-Za-z0-9])api_org_[A-Za-z0-9]{20,}")


@dataclass(frozen=True)
class Options:
    """How a run is published.

    Attributes:
        repo_id: ``USER/NAME``.
        public: whether the repository is visible to everybody, or only to its owner.
        licence: an identifier of the Hub; None to state no licence.
        template: path of a card template that replaces zskd's.
        evaluation: also write ``.eval_results/``.
        overwrite: allow a commit on top of one that did not come from this run.
        onnx: also upload the models of the run's export (`zskd export RUN`).
    """

    repo_id: str
    public: bool = False
    licence: str | None = None
    template: str | None = None
    evaluation: bool = False
    overwrite: bool = False
    onnx: bool = False


@dataclass(frozen=True)
class Plan:
    """A run and the files to upload: path in the repository -> local path or bytes."""

    run: FinishedRun
    files: dict[str, Content]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file."""
        return {n: c.stat().st_size if isinstance(c, Path) else len(c) for n, c in self.files.items()}

    def table(self) -> str:
        """Every file with its size in bytes, and their sum."""
        sizes = self.sizes
        lines = [f"  {name:32}{size:>14,} bytes" for name, size in sizes.items()]
        return "\n".join([*lines, f"  {f'{len(sizes)} files':32}{sum(sizes.values()):>14,} bytes"])


def check_options(options: Options, *, flag: str = "--repo-id") -> None:
    """Raise InputError if the options are wrong in themselves."""
    check_repo_id(options.repo_id, flag=flag)
    if options.licence is not None and not _LICENCE.fullmatch(options.licence):
        raise InputError(f"--license {options.licence}: expected an identifier such as apache-2.0")
    if options.template is not None and not is_file(expanded(options.template)):
        raise InputError(f"--template {options.template}: expected a Jinja file, found none")


def _with_length(path: Path, length: int) -> Content:
    """A ``tokenizer.json`` that cuts to `length` tokens and does not pad: the file itself, unless it does otherwise.

    Earlier versions of zskd left the length of the training in it.

    Raises:
        InputError: it is not the JSON of a tokenizer.
    """
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        cut = {"direction": "Right", "strategy": "LongestFirst", "stride": 0} | (found.get("truncation") or {})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON of a tokenizer, found: {error}") from error
    wanted = found | {"truncation": cut | {"max_length": length}, "padding": None}
    return path if wanted == found else json.dumps(wanted, ensure_ascii=False, indent=2).encode()


def plan(path: str | Path, options: Options) -> Plan:
    """Collect the files to publish, without any request to the Hub.

    Raises:
        InputError: the run is not finished, its student's config.json says that its outputs are not single labels, the
            template does not render, or a file seems to contain a token.
    """
    check_options(options)
    run = read_run(path, needs=("record.json", "student"))
    files: dict[str, Content] = {file.name: file for file in model_files(run.student)}
    check_saved_head(read_model_config(run.student, flag="RUN"), f"RUN {run.student}")
    if TOKENIZER in files:
        files[TOKENIZER] = _with_length(run.student / TOKENIZER, student_length(run.student))
    models = _onnx_models(run) if options.onnx else {}
    files |= models
    card = run_card(run, options.repo_id, options.licence, options.template, onnx=list(models))
    files[CARD] = str(card).encode()
    if options.evaluation:
        from huggingface_hub import eval_result_entries_to_yaml

        with as_this_version_writes(run.path):
            entries = eval_result_entries_to_yaml(evaluation_entries(run))
        files[EVALUATION] = yaml.safe_dump(entries, sort_keys=False).encode()
    for name, content in files.items():
        if _TOKEN.search(_text_of(content)):
            raise InputError(f"{run.path}: {name} seems to contain a Hub token; it must not be published")
    check_student(run.path)
    return Plan(run, dict(sorted(files.items())))


def _onnx_models(run: FinishedRun) -> dict[str, Content]:
    """The models of a run's export: path in the repository -> file.

    Raises:
        InputError: there is no export, one of another student, or a link in its place.
    """
    folder, remedy = run.path / "export", f"make it with `zskd export {run.path}`"
    found: dict[str, Any] | None = read_part(folder, "export.json")
    if found is None:
        raise InputError(f"--onnx: expected an export in {folder}, found none; {remedy}")
    if found.get("weights") != run.metrics["student"].get("sha256"):
        raise InputError(f"--onnx: expected an export of the run's student in {folder}, found another's; {remedy}")
    models: dict[str, Content] = {}
    for name in ("onnx/model.onnx", "onnx/model_quantized.onnx"):
        path = folder / name
        if any(part.is_symlink() for part in (path, path.parent, folder)):
            raise InputError(f"--onnx: expected a file at {path}, found a link, which could point anywhere; {remedy}")
        if is_file(path):
            models[name] = path
    if "onnx/model.onnx" not in models:
        raise InputError(f"--onnx: expected onnx/model.onnx in {folder}, found none; {remedy}")
    return models


def _text_of(content: Content) -> bytes:
    """What people wrote of a file: all of it, or the header of a safetensors file; weights are random bytes."""
    if isinstance(content, bytes):
        return content
    if content.suffix not in (".safetensors", ".onnx"):
        return content.read_bytes()
    if content.suffix == ".onnx":
        return b""  # weights and a graph
    with content.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(min(length, LARGEST_HEADER))
