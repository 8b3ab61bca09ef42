"""Models of the Hugging Face hub: for the command line, and for pages of a server that may."""

import os
import re
from pathlib import Path
from typing import Any

ALLOWED = "ROUTESCOPE_ALLOW_HUB"  # set by `routescope app --allow-hub`
FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
COPIES = ["*/*", "consolidated*"]  # of the same weights, in another form
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)


def is_allowed() -> bool:
    """Whether pages may have something downloaded."""
    return os.environ.get(ALLOWED) == "1"


def is_name(text: str) -> bool:
    """ORGANIZATION/NAME as the hub has them."""
    return bool(NAME.fullmatch(text)) and ".." not in text and "--" not in text


def download(name: str, *, progress_bar: type[Any] | None = None) -> Path:
    """The folder of a model in the hub's cache: its config first, which tells whether the rest can
    be used. ValueError: it cannot, or cannot be had."""
    from model.fingerprint import is_transformers
    from model.huggingface.folder import without_weights

    folder = fetch(name, allow_patterns=["config.json"])
    if is_transformers(folder):
        without_weights(folder)
    return fetch(name, allow_patterns=FILES, ignore_patterns=COPIES, tqdm_class=progress_bar)


def fetch(name: str, **chosen: Any) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        return Path(snapshot_download(name, **chosen))
    except Exception as error:  # of the network, the hub or the disk
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:200] if lines else type(error).__name__
        raise ValueError(f"it cannot be had from the Hugging Face hub: {reason}") from error
