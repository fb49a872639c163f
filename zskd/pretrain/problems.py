"""Problems with the options of a pretraining, found before anything loads."""

from __future__ import annotations

from zskd.checks import check_cache_dir, check_corpus, check_output_dir, check_processes, launchers_precision
from zskd.config.limits import flag_of, limit_problems, within_limits
from zskd.config.pretraining import PretrainConfig
from zskd.hub.ask import is_local
from zskd.models.backbones import PACKAGED, known_backbone
from zskd.models.folder_checks import check_local
from zskd.runs.start_record import start_path
from zskd.system.paths import exists


def problems(config: PretrainConfig) -> list[str]:
    """Problems with the options, found before anything loads."""
    found = limit_problems(config)
    named, usable = set(map(flag_of, found)), within_limits(config)
    return found + [problem for problem in _problems(usable) if flag_of(problem) not in named]


def _problems(config: PretrainConfig) -> list[str]:
    found = []
    if known_backbone(config.backbone) is None and is_local(config.backbone):
        found += check_local(config.backbone, "--backbone", config.max_length)
    if config.backbone_revision is not None and (config.backbone in PACKAGED or is_local(config.backbone)):
        found.append(
            f"--backbone-revision {config.backbone_revision}: expected a Hub id as --backbone beside it, found "
            f"{config.backbone}; leave it out"
        )
    found += check_corpus(config.corpus)
    processes = config.num_processes or 1
    if config.batch_size % processes:
        found.append(
            f"--batch-size {config.batch_size}: expected a multiple of the {processes} processes that share it"
        )
    found += check_processes(config.num_processes)
    if asked := launchers_precision("no"):
        found.append(
            f"--num-processes: the launcher asks for {asked} (accelerate launch --mixed_precision, or "
            "ACCELERATE_MIXED_PRECISION), and a start is trained in float32; set it to `no`"
        )
    output = start_path(config)
    if output_problems := check_output_dir(output):
        found += output_problems
    elif exists(output) and any(output.iterdir()):
        found.append(f"--output-dir {output}: expected a new or empty folder, found files in it; choose another one")
    return found + check_cache_dir(config.cache_dir)
