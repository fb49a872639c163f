"""`ZeroShotTrainer.push_to_hub`: send the files of a saved model and its card, by name, in one commit."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitInfo, ModelCard

from zskd.hub.model_files import model_files
from zskd.hub.upload import CARD, Content, read_token, upload


def push_model(
    folder: Path,
    card: ModelCard,
    repo_id: str,
    *,
    token: str | None = None,
    message: str = "End of training",
    revision: str | None = None,
    public: bool | None = None,
) -> CommitInfo:
    """Upload a saved model with its card, on top of whatever the repository holds.

    Args:
        folder: a folder written by ``save_pretrained`` of model and tokenizer; its other files are not sent.
        token: default: ``HF_TOKEN`` or the token of ``hf auth login``.
        public: as in `zskd.hub.upload.upload`.

    Raises:
        InputError: the folder lacks weights, configuration or tokenizer, or there is no token.
        RunError: the upload failed; the message says what arrived.
    """
    files: dict[str, Content] = {path.name: path for path in model_files(folder)}
    files[CARD] = str(card).encode()
    return upload(
        repo_id,
        files,
        token=token or read_token(),
        message=message,
        public=public,
        overwrite=True,
        revision=revision,
        flag="push_to_hub",
    )
