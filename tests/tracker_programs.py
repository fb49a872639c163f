"""What a tracker has kept of a training, in its own words: `tests/test_trackers.py` runs this where the trackers are.

python tests/tracker_programs.py train TRACKER FOLDER    trains in FOLDER; prints processes and what Trainer logged
python tests/tracker_programs.py search TRACKER FOLDER   a hyperparameter search of two trials
python tests/tracker_programs.py read TRACKER FOLDER     prints what the tracker has, run by run
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Kept = list[dict[str, Any]]  # for each run, "agreement": [[step, value], ...] and "temperature"


def trainer(folder: Path, tracker: str, **more: Any) -> Any:
    """A tiny training that is evaluated twice."""
    from conftest import tiny_bert
    from test_trainer import COLLATOR, rows

    import zskd

    arguments = zskd.ZeroShotArguments(
        str(folder / "out"), temperature=3.0, max_steps=4, eval_strategy="steps", eval_steps=2, logging_steps=1,
        save_strategy="no", report_to=tracker, run_name="tiny", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    data = rows(32)

    def model(trial: Any = None) -> Any:
        return tiny_bert(100, ("a", "b", "c"))

    given = {"model_init": model} if more.pop("search", False) else {"model": model()}
    return zskd.ZeroShotTrainer(
        args=arguments, train_dataset=data, eval_dataset=data, data_collator=COLLATOR, **given, **more
    )


def train(tracker: str, folder: Path) -> object:
    made = trainer(folder, tracker)
    made.train()
    history = made.state.log_history
    logged = [[entry["step"], entry["eval_agreement"]] for entry in history if "eval_agreement" in entry]
    return [made.args.world_size, logged]


def search(tracker: str, folder: Path) -> object:
    made = trainer(folder, tracker, search=True)
    best = made.hyperparameter_search(
        lambda trial: {"temperature": trial.suggest_float("temperature", 1.0, 8.0)},
        lambda metrics: metrics["eval_agreement"],
        n_trials=2,
        direction="maximize",
        backend="optuna",
    )
    return [best.hyperparameters["temperature"], made.args.run_name]


def read_tensorboard(folder: Path) -> Kept:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kept = []
    for path in sorted({file.parent for file in folder.rglob("events.out.*")}):
        events = EventAccumulator(str(path))
        events.Reload()
        if "eval/agreement" in events.Tags()["scalars"]:
            agreement = [[event.step, event.value] for event in events.Scalars("eval/agreement")]
            (text,) = (event.tensor_proto.string_val[0] for event in events.Tensors("args/text_summary"))
            kept.append({"agreement": agreement, "temperature": json.loads(text)["temperature"]})
    return kept


def level_log(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, after a header of 7 bytes: blocks of 32 KiB, each record in pieces."""
    at, record = 7, b""
    while at + 7 <= len(content):
        length, kind = struct.unpack_from("<HB", content, at + 4)  # after a checksum
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""
        if (rest := -at % 32_768) < 7:
            at += rest


def read_wandb(folder: Path) -> Kept:
    from wandb.proto.wandb_internal_pb2 import Record

    kept = []
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        agreement, temperature = [], None
        for data in level_log(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            if "eval/agreement" in row:
                agreement.append([row["train/global_step"], row["eval/agreement"]])
            for item in [*record.run.config.update, *record.config.update]:
                if (item.key or item.nested_key[0]) == "temperature":
                    temperature = json.loads(item.value_json)
        kept.append({"agreement": agreement, "temperature": temperature})
    return kept


def read_mlflow(folder: Path) -> Kept:
    from mlflow import MlflowClient

    client, kept = MlflowClient(), []
    for run in client.search_runs([found.experiment_id for found in client.search_experiments()]):
        history = client.get_metric_history(run.info.run_id, "eval_agreement")
        agreement = [[point.step, point.value] for point in history]
        kept.append({"agreement": agreement, "temperature": float(run.data.params["temperature"])})
    return kept


def read_trackio(folder: Path) -> Kept:
    kept: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(os.environ["TRACKIO_DIR"]).glob("*.db")):
        with sqlite3.connect(path) as database:
            for run, config in database.execute("select run_name, config from configs"):
                kept[run] = {"agreement": [], "temperature": json.loads(config)["temperature"]}
            for run, text in database.execute("select run_name, metrics from metrics order by id"):
                row = json.loads(text)
                if "eval/agreement" in row:
                    kept[run]["agreement"].append([row["train/global_step"], row["eval/agreement"]])
    return list(kept.values())


READ: dict[str, Callable[[Path], Kept]] = {
    "tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow, "trackio": read_trackio,
}  # fmt: skip


if __name__ == "__main__":
    verb, name, place = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "training")]
    said = READ[name](place) if verb == "read" else {"train": train, "search": search}[verb](name, place)
    sys.stdout.write(json.dumps(said) + "\n")
