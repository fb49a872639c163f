"""Does an option of `zskd distill` make a better student? Judged without the dev file.

One run per name, scored like `adversarial_screen.py`: the accuracy on rows of the task's TRAINING file, and the
agreement with the teacher there and on held-out text. Development evidence that chooses a setting; `glue_table.py`
then measures it on dev. Finished runs are kept in docs/results/screening.

    python -m recipes.screen --data DIR --task sst2 --name x3 --set pool_size=480000 epochs=1 --seed 0
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from recipes.adversarial_screen import measure, one_line
from zskd.cli.parser import set_up_logging
from zskd.tasks.task import TASKS

RESULTS = Path("docs/results/screening")


def main() -> int:
    """Measure one setting and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--task", default="sst2", choices=list(TASKS))
    parser.add_argument("--name", required=True, help="what the setting is called in docs/results/screening")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of `zskd distill`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/screen"), help="folder of the run")
    arguments = parser.parse_args()
    set_up_logging()
    options = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in arguments.set)}
    path = RESULTS / f"{arguments.task}-{arguments.name}-{arguments.seed}.json"
    found = measure(TASKS[arguments.task], options, arguments.seed, path, arguments.data, arguments.work)
    print(one_line(path.stem, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
