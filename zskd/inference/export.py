"""Exporting a student to ONNX, for runtimes without torch, with a check that its answers stay the same."""

from __future__ import annotations

import copy
import json
import logging
import re
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError, RunError
from zskd.evaluation.analysis import BATCH_CALLS, LATENCY_BATCH, LATENCY_CALLS, time_answers
from zskd.inference.saved import Saved
from zskd.metrics.scores import score_predictions
from zskd.models.batching import token_batches, token_budget
from zskd.models.encoding import Cuts, encode_texts
from zskd.models.lengths import save_tokenizer, set_reading_length
from zskd.models.positions import UNLIMITED, reading_length
from zskd.models.quiet import quiet_transformers
from zskd.models.reading import first_line
from zskd.models.tokenizers import UNPADDED, guards
from zskd.system.files import replacing, write_text
from zskd.system.formatting import in_percent
from zskd.tasks.labelled import Labelled

logger = logging.getLogger(__name__)

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1.0e-4  # largest allowed difference between a logit and PyTorch's
FOLDER = "onnx"  # beside configuration and tokenizer: where transformers.js and optimum look for the models
FLOAT, INT8 = f"{FOLDER}/model.onnx", f"{FOLDER}/model_quantized.onnx"

Texts = tuple[list[str], ...]
Answer = Callable[[Texts], np.ndarray]

_SENTENCE = "the film of a town and its people was long but never dull , with a plot that one could follow"


def missing_packages() -> list[str]:
    """Packages of ``zskd[onnx]`` that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


class _Logits(torch.nn.Module):
    """A classifier that takes positional inputs and returns its logits only."""

    def __init__(self, model: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_labels)`` of inputs ``(batch, tokens)``, in the order of ``names``."""
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def write_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write a classifier with free batch and sequence axes.

    Raises:
        InputError: onnxscript is older than torch needs.
        RunError: torch cannot export this architecture.
    """
    # A copy on the CPU, because the exporter moves and traces the model it is given.
    model = copy.deepcopy(model).cpu().float().eval()
    names = list(tokenizer.model_input_names)
    # Two rows of different lengths, so that no axis is taken for a constant and the mask is not all ones.
    length = reading_length(model.config.to_dict(), tokenizer.model_max_length)
    example = tokenizer(
        ["one of them", "one of them and quite a few words more"],
        padding=True,
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", min=2, max=length)}
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for quiet in loggers:
            quiet.setLevel(logging.ERROR)
        with warnings.catch_warnings(), quiet_transformers():
            warnings.simplefilter("ignore")  # on operators of packages that are not installed
            program = torch.onnx.export(
                _Logits(model, names).eval(),
                tuple(example[name] for name in names),
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(tuple(free for _ in names),),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(path)
    except ImportError as error:
        raise InputError(
            f"--format onnx: torch {torch.__version__} needs another onnxscript than {version('onnxscript')}, found: "
            f"{error}; pip install --upgrade onnxscript"
        ) from error
    except torch.onnx.OnnxExporterError as error:
        raise RunError(f"{model.config.model_type}: torch cannot write it as ONNX: {_reason(error)}") from error
    finally:
        for quiet, level in zip(loggers, levels, strict=True):
            quiet.setLevel(level)


def _reason(error: BaseException) -> str:
    """First line of what stopped the exporter; its own errors say in colour where to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[\d*m", "", first_line(error)).strip()


def quantize(source: Path, target: Path) -> None:
    """Quantize weights to int8 with a scale per output channel; activations are quantized at run time."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The quantizer transposes some weights, and then fails because of the shapes that the exporter recorded for them.
    del model.graph.value_info[:]

    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)  # it recommends a preprocessing step that changes nothing here
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        root.setLevel(level)


def onnx_answers(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Answer:
    """A function that returns the logits ``(rows, num_labels)`` of an ONNX file on the CPU, batched as with PyTorch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    classes = session.get_outputs()[0].shape[1]

    def answers(texts: Texts) -> np.ndarray:
        encoded = encode_texts(tokenizer, texts, max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        logits = np.empty((len(lengths), classes), dtype=np.float32)
        for batch in token_batches(lengths, token_budget("cpu"), padded=UNPADDED not in guards(tokenizer)):
            rows = [{name: encoded[name][i] for name in encoded} for i in batch]
            inputs = tokenizer.pad(rows, padding="longest", return_tensors="np")
            logits[batch] = session.run(None, {name: inputs[name].astype(np.int64) for name in names})[0]
        return logits

    return answers


def parity_texts(texts: int, max_length: int) -> list[Texts]:
    """Batches of several sizes, with rows of different lengths from one word to beyond the limit."""

    words = _SENTENCE.split()

    def text(size: int, shift: int) -> str:
        return " ".join(words[(i + shift) % len(words)] for i in range(size))

    sizes = sorted({1, 2, 5, 12, max_length // 3, max_length // 2, 2 * max_length})
    batches = [[text(size, size)] for size in sizes]
    batches += [[text(size, shift) for shift, size in enumerate(sizes)], [text(4, shift) for shift in range(17)]]
    return [tuple(list(batch if column == 0 else reversed(batch)) for column in range(texts)) for batch in batches]


def largest_difference(one: Answer, other: Answer, batches: list[Texts]) -> float:
    """Largest absolute difference of a logit over all batches."""
    return max(float(np.abs(one(texts) - other(texts)).max()) for texts in batches)


def export_onnx(
    saved: Saved,
    folder: Path,
    *,
    int8: bool = False,
    data: Labelled | None = None,
    data_name: str = "",
    weights: str | None = None,
) -> dict[str, Any]:
    """Write an ONNX model, optionally a quantized one, tokenizer, configuration and ``export.json`` into a folder.

    The layout is that of ONNX models on the Hub: `FLOAT` and `INT8` in a folder of their own, all else beside it.

    Args:
        int8: also write `INT8`.
        data: labelled rows for agreement and scores of all models.
        data_name: name of `data` in ``export.json``.
        weights: SHA-256 of the file with the weights, None where it is not known.

    Returns:
        Content of ``export.json``: ``weights`` as above, ``largest_difference`` between a logit and PyTorch's,
        ``tolerance``, ``threads``, ``max_length``, ``data``, its ``rows`` (None without) and ``cut`` (rows of it that
        were longer), and per model ``bytes``, ``device``, what `zskd.evaluation.analysis.time_answers` measures and,
        with data, ``agreement`` with PyTorch and ``scores``.

    Raises:
        InputError: the classifier is a callable, which has no weights.
        RunError: the architecture cannot be exported, or the exported logits differ; nothing is written.
    """
    classifier = saved.classifier.require_weights(f"zskd export {saved.classifier.name}")
    tokenizer = classifier.tokenizer
    set_reading_length(tokenizer, classifier.model.config)
    max_length = saved.max_length
    # Longer inputs would be checked on other positions, at the square of the cost.
    batches = parity_texts(saved.texts or 1, min(max_length, UNLIMITED))

    def torch_answers(texts: Texts) -> np.ndarray:
        return classifier.logits(texts, max_length=max_length)

    def answers_of(path: Path) -> Answer:
        """Logits of an ONNX file in the task's class order, like PyTorch's."""
        answers = onnx_answers(path, tokenizer, max_length)
        return lambda texts: classifier.in_task_order(answers(texts))

    with replacing(folder) as temporary:
        (temporary / FOLDER).mkdir(parents=True)
        logger.info("writing %s", FLOAT)
        write_onnx(classifier.model, tokenizer, temporary / FLOAT)
        models = {"PyTorch": torch_answers, "ONNX": answers_of(temporary / FLOAT)}
        sizes = {"PyTorch": sum(p.numel() * p.element_size() for p in classifier.model.parameters())}
        sizes["ONNX"] = (temporary / FLOAT).stat().st_size
        difference = largest_difference(torch_answers, models["ONNX"], batches)
        if not difference <= TOLERANCE:  # NaN too
            raise RunError(
                f"{classifier.name}: expected logits of the ONNX model within {TOLERANCE:.0e} of PyTorch's, found a "
                f"difference of {difference:.2g}; nothing was written"
            )
        logger.info("logits differ from PyTorch's by at most %.1e", difference)
        if int8:
            quantize(temporary / FLOAT, temporary / INT8)
            models["ONNX int8"] = answers_of(temporary / INT8)
            sizes["ONNX int8"] = (temporary / INT8).stat().st_size
        timed = data.texts if data is not None else batches[-2]
        times = time_answers(models, timed)
        devices = {"PyTorch": classifier.device_type}
        measured = {name: {"bytes": sizes[name], "device": devices.get(name, "cpu"), **times[name]} for name in models}
        cuts = Cuts(max_length, classifier.trained_length)
        if data is not None:
            cuts.add(classifier.prepare(data.texts, max_length), len(data.labels))
            cuts.tell_beyond(classifier.name)
            cuts.tell(data_name, "rows")
            for name, found in _compare(saved, models, data).items():
                measured[name] |= found
        results = {
            "weights": weights,
            "largest_difference": difference,
            "tolerance": TOLERANCE,
            "max_length": max_length,
            "cut": cuts.cut if data is not None else None,
            "threads": torch.get_num_threads(),
            "data": data_name or None,
            **({"skipped_rows": data.skipped} if data is not None and data.skipped else {}),
            "rows": None if data is None else len(data.labels),
            "models": measured,
        }
        with quiet_transformers():
            classifier.model.config.save_pretrained(temporary)
            save_tokenizer(tokenizer, classifier.model.config, temporary)
        write_text(temporary / "export.json", json.dumps(results, indent=1) + "\n")
    return results


def _compare(saved: Saved, models: dict[str, Answer], data: Labelled) -> dict[str, dict[str, Any]]:
    """Agreement of each model with the first one, and its scores if the task is known."""
    found = {name: answers(data.texts).argmax(axis=1) for name, answers in models.items()}
    first = next(iter(found.values()))
    compared: dict[str, dict[str, Any]] = {}
    for name, classes in found.items():
        compared[name] = {"agreement": float((classes == first).mean())}
        if saved.task is not None:
            compared[name]["scores"] = score_predictions(saved.task, classes, data.labels)
    return compared


def table(results: dict[str, Any]) -> str:
    """The results as a table for people."""
    scored = any("scores" in entry for entry in results["models"].values())
    agreed = results["data"] is not None
    lines = [
        f"{'':12}{'MB':>8}{'ms each':>10}{'25 to 75 %':>18}{'per second':>12}{'25 to 75 %':>18}"
        + (f"{'agreement':>12}" if agreed else "")
        + (f"{'accuracy':>10}" if scored else "")
    ]
    for name, entry in results["models"].items():
        line = f"{name:12}{entry['bytes'] / 1e6:>8.2f}{entry['milliseconds']:>10.2f}"
        line += f"{_between(entry['milliseconds_quartiles'], 2):>18}{entry['texts_per_second']:>12,.0f}"
        line += f"{_between(entry['texts_per_second_quartiles'], 0):>18}"
        if agreed:
            line += f"{in_percent(entry['agreement']):>10} %"
        lines.append(line + (f"{entry['scores']['accuracy']:>10.4f}" if scored else ""))
    lines.append(
        f"ms each: median of {LATENCY_CALLS} texts asked alone; per second: median of {BATCH_CALLS} batches of "
        f"{LATENCY_BATCH}; beside them the quartiles. The models were asked in turns, tokenization included, on the "
        f"CPU with {results['threads']} thread(s)"
        + "".join(f", {name} on {e['device']}" for name, e in results["models"].items() if e["device"] != "cpu")
    )
    if agreed:
        lines.append(f"agreement: with PyTorch's classes, on {results['rows']:,} rows ({results['data']})")
    return "\n".join(lines)


def _between(quartiles: list[float], digits: int) -> str:
    return " to ".join(f"{value:,.{digits}f}" for value in quartiles)
