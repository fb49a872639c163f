"""A diagnosis as text for the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np

SHOWN_CLASSES = 8  # larger matrices are in the JSON only


def as_text(diagnosis: dict[str, Any]) -> str:
    """The result of `zskd.diagnosis.diagnose.diagnose` as text for the terminal."""
    signals, labels = diagnosis["signals"], diagnosis["labels"]
    lines = [f"{diagnosis['teacher']} on {diagnosis['texts']} texts ({diagnosis['task']})", "", "instance"]
    lines += _instance(signals, labels)
    if signals["domain"] is not None:
        lines += ["domain", *_domain(signals["domain"], labels)]
    if signals["calibration"] is not None:
        known = signals["calibration"]
        lines += [
            "labelled rows",
            f"  {known['rows']} rows: accuracy {known['accuracy']:.3f}, confidence {known['confidence']:.3f}, expected "
            f"calibration error {known['ece']:.3f}",
        ]
    troubles = [item for item in diagnosis["findings"] if item["trouble"]]
    notes = [item for item in diagnosis["findings"] if not item["trouble"]]
    lines += ["signs of trouble", *([f"  {item['message']}" for item in troubles] or ["  none"])]
    if notes:
        lines += ["worth knowing", *(f"  {item['message']}" for item in notes)]
    advice = diagnosis["advice"]
    if advice["objective"] is None:
        lines += ["try first", f"  nothing: {advice['why']}"]
    else:
        command = f"--objective {advice['objective']} --temperature {advice['temperature']:g}"
        lines += ["try first", f"  {command}: {advice['why']}"]
    return "\n".join(lines)


def _instance(signals: dict[str, Any], labels: list[str]) -> list[str]:
    instance, shares = signals["instance"], signals["classes"]["share"]
    answers = sorted(zip(shares, labels, strict=True), reverse=True)[:SHOWN_CLASSES]
    lines = [
        f"  {'confidence':22}{_spread(instance['confidence'])}",
        f"  {'above 0.99':22}{100 * instance['sure']:.1f} %",
        f"  {'answers':22}" + ", ".join(f"{name} {100 * share:.0f} %" for share, name in answers),
        f"  {'information':22}{signals['information']:.3f} of 1",
        f"  {'kd over cross-entropy':22}{_spread(signals['rescaling']['untrained'])}, untrained student",
    ]
    if signals["rescaling"]["student"] is not None:
        lines.append(f"  {'':22}{_spread(signals['rescaling']['student'])}, the run's student")
    return lines


def _spread(values: dict[str, float]) -> str:
    return f"mean {values['mean']:.3f}, 5 to 95 %: {values['p05']:.3f} to {values['p95']:.3f}"


def _domain(domain: dict[str, Any], labels: list[str]) -> list[str]:
    lines = [
        f"  {'entropy of the rest':22}{_spread(domain['entropy'])} (1 = even)",
        f"  {'flatness':22}{domain['flatness']:.3f}",
    ]
    if len(labels) <= SHOWN_CLASSES:
        for name, title in (("output_layer", "output layer (cosine)"), ("predictions", "predictions (corr.)")):
            if domain["similarity"][name] is not None:
                lines.append(f"  {title:22}" + "".join(f"{label[:9]:>10}" for label in labels))
                for label, row in zip(labels, np.asarray(domain["similarity"][name]), strict=True):
                    lines.append(f"    {label[:18]:20}" + "".join(f"{value:>10.2f}" for value in row))
    return lines
