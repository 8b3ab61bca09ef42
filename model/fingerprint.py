"""Which weights a folder holds. Without torch: a page asks before anything is loaded."""

import hashlib
from pathlib import Path


def shard_paths(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("model-*.safetensors"))
    if not paths:
        raise ValueError(f"no weights in {folder}: model-*.safetensors is missing")
    expected = int(paths[0].stem.rsplit("-", 1)[1])
    if len(paths) != expected:
        raise ValueError(f"{folder} has {len(paths)} of {expected} weight shards; copy the rest")
    return paths


def model_sha256(folder: Path) -> str:
    """Over the config and every weight shard, in order."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in shard_paths(folder):
        digest.update(path.read_bytes())
    return digest.hexdigest()
