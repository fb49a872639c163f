"""GLUE's metrics as a local `evaluate` module: nothing is fetched to load it."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score, f1_score


class GlueScore(evaluate.Metric):
    """Accuracy, and F1 of class 1 where the configuration name ends in ``f1``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy of a classifier, and F1 of the positive class for the GLUE tasks that report it.",
            citation="",
            inputs_description="predictions, references: class indices",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        scores = {"accuracy": float(accuracy_score(references, predictions))}
        if self.config_name.endswith("f1"):
            scores["f1"] = float(f1_score(references, predictions, zero_division=0))
        return scores
