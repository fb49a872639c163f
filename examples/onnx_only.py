"""A student without torch and transformers: onnxruntime, tokenizers and numpy alone.

python examples/onnx_only.py runs/first/export reviews.txt

`zskd export runs/first` writes the folder, where zskd is installed. Where the student is used, this is enough:

    pip install onnxruntime tokenizers numpy

It takes about 200 MB, 78 of them onnxruntime's and 73 numpy's. Without a file, lines of standard input are answered as
they come. A line is one text, or two with a tab between them.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Student:
    """A classifier from an export of zskd.

    Args:
        folder: of the export.
        int8: use the quantized model, which `zskd export --quantize int8` writes.
    """

    def __init__(self, folder: Path, *, int8: bool = False) -> None:
        name = "model_quantized.onnx" if int8 else "model.onnx"
        self.session = onnxruntime.InferenceSession(folder / "onnx" / name, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # cuts at the length that the model reads
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.labels = [label for _, label in sorted(config["id2label"].items(), key=lambda entry: int(entry[0]))]
        self.texts = config.get("zskd_texts")  # of an input; None where another program made the model
        self.tokenizer.enable_padding(pad_id=config.get("pad_token_id") or 0)

    def __call__(self, texts: Sequence[str | tuple[str, ...]]) -> np.ndarray:
        """Probabilities ``(len(texts), len(labels))`` of texts, or of pairs of texts."""
        rows = self.tokenizer.encode_batch(list(texts))
        columns = {
            "input_ids": [row.ids for row in rows],
            "attention_mask": [row.attention_mask for row in rows],
            "token_type_ids": [row.type_ids for row in rows],
        }
        (logits,) = self.session.run(None, {name: np.array(columns[name], dtype=np.int64) for name in self.inputs})
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
        return probabilities


def answers(student: Student, lines: Iterable[str], batch_size: int) -> Iterator[str]:
    """A line with label and probability for each line of text."""
    waiting = iter(lines)
    while batch := list(itertools.islice(waiting, batch_size)):
        texts = [line.rstrip("\r\n") for line in batch]
        rows = [tuple(text.split("\t")) for text in texts]
        for row in rows:
            if len(row) != (student.texts or len(rows[0])) or len(row) > 2:
                raise SystemExit(f"expected {student.texts or len(rows[0])} text(s) in a line, found {len(row)}: {row}")
        for row in student([row[0] if len(row) == 1 else row for row in rows]):
            yield f"{student.labels[row.argmax()]}\t{row.max():.4f}"


def main(folder: str, file: str = "-") -> None:
    """Answer the lines of a file in batches, or those of standard input one by one."""
    student = Student(Path(folder))
    if file == "-":
        for line in answers(student, sys.stdin, 1):
            print(line, flush=True)
    else:
        with Path(file).open(encoding="utf-8", newline="\n") as lines:
            for line in answers(student, lines, 32):
                print(line)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python onnx_only.py EXPORT [FILE]")
    main(*sys.argv[1:])
