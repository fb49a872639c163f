"""What neighbouring packages say of a student: run in an environment of its own, prints JSON.

python neighbour_programs.py STUDENT EXPORT '[["a text"], ["another"]]'
"""

import json
import sys

import numpy as np


def main(student: str, export: str, given: str) -> None:
    """Print the probabilities of each package, in the order of the model's labels."""
    import transformers
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, pipeline

    inputs = json.loads(given)
    rows = [{"text": row[0], **({"text_pair": row[1]} if len(row) == 2 else {})} for row in inputs]

    def ordered(classify) -> list:
        labels = [classify.model.config.id2label[number] for number in range(len(classify.model.config.id2label))]
        # One at a time and in batches, with all classes.
        found = [classify(row, top_k=None) for row in rows]
        batched = classify(rows, top_k=None, batch_size=2)
        for one, other in zip(found, batched, strict=True):
            assert all(abs(x["score"] - y["score"]) < 1e-5 for x, y in zip(one, other, strict=True))
        return [[{entry["label"]: entry["score"] for entry in row}[label] for label in labels] for row in found]

    said = {"transformers": ordered(pipeline("text-classification", model=student))}
    onnx = ORTModelForSequenceClassification.from_pretrained(export)
    said["optimum"] = ordered(
        pipeline("text-classification", model=onnx, tokenizer=AutoTokenizer.from_pretrained(export))
    )
    if len(inputs[0]) == 2:
        logits = CrossEncoder(student).predict(inputs, convert_to_numpy=True, activation_fn=lambda values: values)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        said["sentence-transformers"] = (exponents / exponents.sum(axis=1, keepdims=True)).tolist()
    sys.stdout.write(json.dumps({"version": transformers.__version__, "said": said}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
