"""A teacher that you can only ask, and that answers with labels alone.

python examples/black_box.py my-text.txt
"""

import sys
from pathlib import Path
from typing import Any

import zskd


def ask(texts: list[str]) -> list[str]:
    """Put your service here. It gets up to 256 texts at a time and answers with one label each."""
    return ["complaint" if {"not", "never", "no"} & set(text.lower().split()) else "other" for text in texts]


ask.fingerprint = "version 1"  # type: ignore[attr-defined]  # with it, answers are kept in the cache between runs


def main(text: str, student: str = "google/bert_uncased_L-2_H-128_A-2", **options: Any) -> zskd.Result:
    """There are no weights to build a student from, so it starts from a folder or a Hub id.

    For logits leave `teacher_outputs` out; for probabilities it is ``"probabilities"``.
    """
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    result = zskd.distill(
        teacher=ask, teacher_outputs="labels", student=student, labels=["complaint", "other"], texts=texts, **options
    )
    print(f"the service was asked {result.metrics['teacher_queries_live']} texts")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
