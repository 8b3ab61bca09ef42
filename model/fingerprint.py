"""Which weights a folder holds. Without torch: a page asks before anything is loaded."""

import hashlib
import re
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
    named = {
        path: re.fullmatch(r"model-(\d{5})-of-(\d{5})\.safetensors", path.name) for path in paths
    }
    if strange := [path.name for path, name in named.items() if name is None or not path.is_file()]:
        raise ValueError(f"{strange[0]} in {folder} is no weight shard; remove it")
    expected = {int(name[2]) for name in named.values() if name}
    if len(expected) > 1:
        raise ValueError(f"{folder} holds shards of several models; keep those of one")
    [count] = expected
    if beyond := [path.name for path, name in named.items() if name and int(name[1]) > count]:
        raise ValueError(f"{beyond[0]} in {folder} is beyond the {count} shards of it; remove it")
    if len(paths) != count:
        raise ValueError(f"{folder} has {len(paths)} of {count} weight shards; copy the rest")
    return paths


def model_sha256(folder: Path) -> str:
    """Over the config and every weight shard, in order."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in shard_paths(folder):
        digest.update(path.read_bytes())
    return digest.hexdigest()
