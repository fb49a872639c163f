"""A student of your own teacher, from your own text.

python examples/own_teacher.py my-classifier my-text.txt negative positive
"""

import sys
from pathlib import Path
from typing import Any

import zskd


def main(teacher: str, text: str, *labels: str, **options: Any) -> zskd.Result:
    """The teacher is a folder or a Hub id, the text a file with one text a line that need not look like the task's."""
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    result = zskd.distill(teacher=teacher, labels=labels, texts=texts, **options)
    result.student.save_pretrained("my-student")
    result.tokenizer.save_pretrained("my-student")
    print(f"agreement with the teacher on held-out text: {result.metrics['agreement']:.3f}")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
