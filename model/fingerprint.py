"""Which weights a folder holds. Without torch: a page asks before anything is loaded."""

import hashlib
from pathlib import Path

SHARDS = "model-*.safetensors"


def shard_name(number: int, count: int) -> str:
    """Of the `number`-th, counted from 1."""
    return SHARDS.replace("*", f"{number:05}-of-{count:05}")


def remove_shards(folder: Path) -> None:
    for path in folder.glob(SHARDS):
        path.unlink()


def shard_paths(folder: Path) -> list[Path]:
    paths = sorted(folder.glob(SHARDS))
    if not paths:
        raise ValueError(f"no weights in {folder}: {SHARDS} is missing")
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
