"""`zskd ls`: list tasks, methods, configurations, backbones and the content of the cache."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zskd.checks import check_cache_dir
from zskd.cli.parser import add_cache_dir, check_texts
from zskd.config.methods.table import METHODS
from zskd.config.resolve import cache_root, packaged_configs
from zskd.errors import InputError
from zskd.models.backbones import BACKBONES, PACKAGED, backbone_folder
from zskd.tasks.task import TASKS

EPILOG = """examples:
  zskd ls
  zskd ls --cache-dir /data/zskd-cache"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("ls", help="list tasks, methods, configurations, backbones and the cache", epilog=EPILOG)
    add_cache_dir(parser)
    parser.set_defaults(run=run)


def _size(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:,.1f} MB"


def run(arguments: argparse.Namespace) -> int:
    """Print the lists."""
    check_texts(cache_dir=arguments.cache_dir)
    if problems := check_cache_dir(arguments.cache_dir):
        raise InputError(problems)
    cache = cache_root(arguments.cache_dir)
    lines = ["tasks"]
    for task in TASKS.values():
        extras = [
            "probe" if task.probe_path() else "",
            *(f"{name} teacher" for name in PACKAGED if task.adapter_path(name)),
        ]
        extras = [word for word in extras if word]
        kinds = " + ".join(task.inputs)
        lines.append(
            f"  {task.name:6}{kinds:21}{task.max_length:>4} tokens  {', '.join(task.labels):40}{', '.join(extras)}"
        )
    lines.append("methods")
    lines += [f"  {spec.name:15}{spec.summary}" for spec in METHODS.values()]
    lines.append("configurations")
    for name, path in packaged_configs().items():
        summary = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"  {name:15}{summary}")
    lines.append("backbones")
    for backbone in BACKBONES.values():
        here = "cached" if backbone_folder(backbone, cache).is_dir() else "not cached"
        lines.append(f"  {backbone.name:15}{backbone.repo_id} ({here})")
    lines.append(f"cache ({cache})")
    folders = sorted(path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else []
    lines += [f"  {folder.name:15}{_size(folder)}" for folder in folders] or ["  empty"]
    print("\n".join(lines))
    return 0
