"""A task with two texts: does the second question ask the same as the first?

python examples/two_texts.py my-duplicate-classifier my-text.txt
"""

import sys
from pathlib import Path
from typing import Any

import torch

import zskd

TASK = zskd.Task(
    name="duplicates",
    text_columns=("question1", "question2"),  # of labelled files, where you have some
    label_column="label",
    labels=("different", "duplicate"),  # as the teacher's configuration names them
    inputs=("question", "question"),  # what the pairs are made of; default: any text
)


def main(teacher: str, text: str, **options: Any) -> str:
    """Pairs are made of the lines of the text: edited copies, parts, sentences on one topic, unrelated ones.

    Pairs of your own are used as they are: ``texts=[("first question", "second question"), ...]``.
    """
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    result = zskd.distill(teacher=teacher, task=TASK, texts=texts, **options)
    pair = result.tokenizer("How do I boil an egg?", "How are eggs boiled?", return_tensors="pt")
    with torch.inference_mode():
        answer = result.student(**pair).logits.argmax().item()
    return str(result.student.config.id2label[answer])


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
