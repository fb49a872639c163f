"""What was distilled, into what, from which text, how and at what cost, in words for the report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zskd.report.data import Run
from zskd.runs.loss import loss_of
from zskd.runs.wording import class_shares, is_adversarial, query_words, spent_lines, used_given_pairs, was_handed_over
from zskd.system.formatting import duration


def facts(run: Run) -> list[tuple[str, str]]:
    """Pairs of name and value."""
    metrics, options = run.metrics, run.config
    teacher = metrics["teacher"]
    revision = f", revision {teacher['revision']}" if teacher.get("revision") else ""
    size = f", {teacher['parameters']:,} parameters" if teacher["parameters"] else ", known by its outputs alone"
    start = options.get("student", "build")
    origin = "built from the teacher" if start == "build" else f"from {start}"
    if begun := run.record.get("student", {}).get("start"):
        origin = f"from the start {begun['name']}, distilled from {begun['made_of']['backbone']['name']}"
        if begun.get("trained_on"):
            origin += f", which was trained on {begun['trained_on']}"
    corpus = run.record.get("corpus", {})
    sources = ", ".join(map(_source, map(str, options.get("corpus", [])))) or "not recorded"
    sentences = f" ({corpus['sentences']:,} sentences{_shortfall(run)})" if corpus else ""
    unrelated = "" if in_domain(run) else ", taken to be unrelated to the task"
    return [
        ("task", f"{metrics['task']}: {', '.join(run.labels)}"),
        ("teacher", f"{teacher['name']}{revision}{size}{_answers(run)}"),
        ("student", f"{metrics['student']['parameters']:,} parameters, {origin}"),
        ("text", f"{sources}{sentences}{unrelated}"),
        ("method", f"{_method(run)}, objective {loss_of(options).words}"),
        ("transfer set", _transfer_set(run)),
        ("teacher queries", _queries(run)),
        *(("query budget", line.partition(": ")[2]) for line in spent_lines(run.metrics)),
        ("training", _training(run)),
        ("seed", _seed(run)),
        ("date", began(run) or "not recorded"),
        ("time", _time(metrics)),
        ("machine", machine_words(run) or "not recorded"),
        ("versions", ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())),
    ]


def _seed(run: Run) -> str:
    seed, pool = run.metrics["seed"], run.config.get("pool_seed")
    return str(seed) if pool in (None, seed) else f"{seed}, and {pool} for the inputs"


def _answers(run: Run) -> str:
    """What a teacher without weights answers with; the report's confidences come from it."""
    kind = run.config.get("teacher_outputs", "logits")
    if kind == "labels":
        return ", which answers with labels only: its confidences and entropies are the same for all inputs"
    return f", which answers with {kind}" if kind != "logits" else ""


def _source(name: str) -> str:
    return "texts that were handed over in Python" if was_handed_over(name) else Path(name).name


def _method(run: Run) -> str:
    options = run.config
    given = used_given_pairs(run.transfer_set)
    words = "pairs used as they were handed over" if given else f"perturbation {options.get('perturb')}"
    if is_adversarial(options):
        words += f", adversary {options.get('adversary')}, generator {options.get('generator')}"
    named = [name for name in options.get("method", []) if name != "adversarial"]
    return words + (f", --method {','.join(named)}" if named else "")


def _transfer_set(run: Run) -> str:
    chosen = run.metrics["transfer_set"]
    labelled = (run.transfer_set or {}).get("rows")
    stay = f" of {labelled:,} that the teacher labelled" if labelled else " labelled by the teacher"
    rows = f", in {chosen['rows']:,} rows" if "rows" in chosen else ""
    gold = run.metrics.get("teacher_queries_for", {}).get("gold_rows")
    more = f"; beside them {gold:,} labelled rows" if gold else ""
    if is_adversarial(run.config):
        more += "; in training a generator rewrote some of them"
    return f"{chosen['texts']:,} inputs{stay}{rows}; {class_shares(chosen['classes'])}{more}"


def _queries(run: Run) -> str:
    metrics = run.metrics
    if metrics.get("teacher_queries") is None:
        return "not recorded"
    live = metrics.get("teacher_queries_live_in_all_calls")
    cached = (
        "" if live is None else f"; {live:,} were asked for, {metrics['teacher_queries'] - live:,} came from the cache"
    )
    scored = metrics["teacher"]["scores"]
    more = f"; not counted: its answers to {' and '.join(scored)}, for its own scores" if scored else ""
    return f"{query_words(metrics)}{cached}{more}"


def _training(run: Run) -> str:
    metrics, options = run.metrics, run.config
    size = options.get("batch_size", 0) * options.get("gradient_accumulation", 1)
    words = f"{metrics['steps']:,} steps" + (f" of up to {size:,} rows" if size else "")
    ended = metrics.get("collapse")
    if options.get("epochs") and not ended:
        words += f", as many as --epochs {options['epochs']:g} takes over the labelled inputs"
    if ended:
        words += f", ended early: {ended}"
    words += f"; the student of step {metrics['best_step']:,} was chosen, which had the lowest loss on held-out text"
    return words + (f"; resumed at step {metrics['resumed_from']:,}" if metrics.get("resumed_from") else "")


def _time(metrics: dict[str, Any]) -> str:
    seconds, calls = metrics["seconds"], metrics.get("calls", 1)
    several = f" in {calls} calls, of which all but the last were cut short" if calls > 1 else ""
    longest = sorted((name for name in seconds if name != "total"), key=lambda name: -seconds[name])[:3]
    return f"{duration(seconds['total'])}{several}; of these " + ", ".join(
        f"{name} {duration(seconds[name])}" for name in longest
    )


def began(run: Run) -> str | None:
    """Date and time (UTC) of the first call that is known to have trained, and of the last if there were several."""
    known = [datetime.fromisoformat(call["began"]).astimezone(UTC) for call in run.calls if "began" in call]
    times = [f"{time:%Y-%m-%d %H:%M}" for time in known]
    if not times:
        return None
    return f"begun {times[0]} UTC" + (f", last resumed {times[-1]} UTC" if len(times) > 1 else "")


def machine_words(run: Run) -> str | None:
    """Processor, threads and GPU of the machine that trained and measured; None in an older run."""
    name, kind = run.record.get("processor"), run.record.get("machine", {})
    if name is None:
        return None
    threads, gpu = kind.get("threads"), kind.get("gpu")
    return name + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "") + (f"; {gpu}" if gpu else "")


def _shortfall(run: Run) -> str:
    """The number of inputs, if the text gave fewer than asked for."""
    size, asked = run.record.get("pools", {}).get("size"), run.config.get("pool_size")
    return f", {size:,} inputs of {asked:,} asked for" if size and asked and size < asked else ""


def heldout_rows(run: Run) -> int | None:
    """Number of held-out inputs on which the agreement was measured; None if it is not recorded."""
    known: int | None = run.metrics.get("agreement_rows") or ((run.analysis or {}).get("heldout") or {}).get("rows")
    return known


def class_table(run: Run) -> list[dict[str, Any]]:
    """Per class its share as labelled (None in a run that did not record it) and as trained on, and its confidence.

    The confidence is None for a class without rows.
    """
    return [
        {
            "label": name,
            "before": entry.get("share_before"),
            "share": entry["share"],
            "confidence": entry["confidence"] if entry["share"] else None,
        }
        for name, entry in run.metrics["transfer_set"]["classes"].items()
    ]


def in_domain(run: Run) -> bool:
    """True if the training inputs may be the task's own: they came from a program or a labelled file."""
    return not run.metrics.get("zero_shot", {}).get("enforced", True)


def repeatable(run: Run) -> bool:
    """False if something was passed in Python that no option can name."""
    known = run.metrics["teacher"]["name"] in (run.config.get("teacher"), _default(run))
    named = not in_domain(run) or bool(run.config.get("gold_labels"))
    return known and named and not used_given_pairs(run.transfer_set)


def _default(run: Run) -> str | None:
    return run.record.get("task", {}).get("teacher") if run.config.get("teacher") == "default" else None
