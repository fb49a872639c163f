"""Package a start with zskd: its weights in float16, its record, and the hashes of the sentences that it has read.

The tokenizer is left out: a teacher brings its own, which has to be the same one.

    zskd pretrain --corpus wikitext-2.txt wikisplit.txt --inputs two --tokens 16000000 --output-dir runs/start
    python -m recipes.package_start runs/start
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoModel

from zskd.models.loading import model_fingerprint
from zskd.runs.start_record import PACKAGED, SENTENCES, WEIGHTS, read_start, write_record
from zskd.system.files import replacing

MOST_WEIGHTS = {"embedded": 1_600_000, "embedded-base": 8_000_000}  # bytes
MOST_HASHES = 500_000


def package(source: Path, backbone: str = "embedded", assets: Path = PACKAGED) -> Path:
    """Write the packaged form of a start into `assets`; returns its folder, BACKBONE/INPUTS.

    Args:
        backbone: name of the packaged backbone that the start was made of.
    """
    record = read_start(source, flag="START")
    model = AutoModel.from_pretrained(source, dtype=torch.float16)
    target = assets / backbone / record["inputs"]
    with replacing(target) as folder:
        model.save_pretrained(folder)
        (folder / SENTENCES).write_bytes((source / SENTENCES).read_bytes())
        for name, most in ((WEIGHTS, MOST_WEIGHTS[backbone]), (SENTENCES, MOST_HASHES)):
            if (size := (folder / name).stat().st_size) > most:
                raise SystemExit(f"{name}: expected at most {most:,} bytes, found {size:,}")
        rounded = AutoModel.from_pretrained(folder, dtype=torch.float32)
        write_record(folder, {**record, "fingerprint": model_fingerprint(rounded)})
    return target


def main() -> int:
    """Package one and print what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, help="folder that `zskd pretrain` wrote")
    parser.add_argument("--backbone", default="embedded", choices=list(MOST_WEIGHTS), help="that it was made of")
    given = parser.parse_args()
    folder = package(given.start, given.backbone)
    fingerprint = read_start(folder, flag="START")["fingerprint"]
    print(f"{folder}: {(folder / WEIGHTS).stat().st_size:,} bytes, fingerprint {fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
