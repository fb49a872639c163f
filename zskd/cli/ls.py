"""`zskd ls`: list tasks, methods, configurations, backbones and the content of the cache."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from zskd.checks import check_cache_dir
from zskd.cli.parser import add_cache_dir, add_json, add_quiet, check_texts
from zskd.config.methods.table import METHODS
from zskd.config.resolve import cache_root, packaged_configs
from zskd.errors import InputError
from zskd.models.backbones import BACKBONES, PACKAGED, backbone_folder
from zskd.system.files import folder_size
from zskd.tasks.task import TASKS

EPILOG = """examples:
  zskd ls
  zskd ls --cache-dir /data/zskd-cache"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("ls", help="list tasks, methods, configurations, backbones and the cache", epilog=EPILOG)
    add_cache_dir(parser)
    add_json(parser, "lists")
    add_quiet(parser)
    parser.set_defaults(run=run)


def _content(cache: Path) -> dict[str, Any]:
    """What ``--json`` prints."""
    folders = sorted(path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else []
    return {
        "tasks": {
            task.name: {
                "inputs": task.inputs,
                "max_length": task.max_length,
                "labels": task.labels,
                "probe": task.probe_path() is not None,
                "teachers": [name for name in PACKAGED if task.adapter_path(name)],
            }
            for task in TASKS.values()
        },
        "methods": {spec.name: spec.summary for spec in METHODS.values()},
        "configurations": {
            name: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            for name, path in packaged_configs().items()
        },
        "backbones": {
            one.name: {"repo_id": one.repo_id, "cached": backbone_folder(one, cache).is_dir()}
            for one in BACKBONES.values()
        },
        "cache": {"folder": str(cache), "bytes": {folder.name: folder_size(folder) for folder in folders}},
    }


def run(arguments: argparse.Namespace) -> int:
    """Print the lists."""
    check_texts(cache_dir=arguments.cache_dir)
    if problems := check_cache_dir(arguments.cache_dir):
        raise InputError(problems)
    found = _content(cache_root(arguments.cache_dir))
    print(json.dumps(found) if arguments.json else "\n".join(_lines(found)))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    lines = ["tasks"]
    for name, task in found["tasks"].items():
        extras = ", ".join(["probe"] * task["probe"] + [f"{teacher} teacher" for teacher in task["teachers"]])
        kinds, labels = " + ".join(task["inputs"]), ", ".join(task["labels"])
        lines.append(f"  {name:6}{kinds:21}{task['max_length']:>4} tokens  {labels:40}{extras}")
    for title in ("methods", "configurations"):
        width = 2 + max(map(len, found[title]))
        lines += [title, *(f"  {name:{width}}{summary}" for name, summary in found[title].items())]
    lines.append("backbones")
    for name, one in found["backbones"].items():
        lines.append(f"  {name:15}{one['repo_id']} ({'cached' if one['cached'] else 'not cached'})")
    lines.append(f"cache ({found['cache']['folder']})")
    sizes = found["cache"]["bytes"].items()
    return lines + ([f"  {name:15}{size / 1e6:,.1f} MB" for name, size in sizes] or ["  empty"])
