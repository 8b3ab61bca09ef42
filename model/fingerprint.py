"""Which weights a folder holds. Without torch: a page asks before anything is loaded."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from data.strict_json import read_object
from data.training_folder import file_identity
from data.words import first_line

LARGEST_CONFIG = 2**22  # bytes
SHARDS = "model-*.safetensors"
FILES = ("*.json", "*.safetensors", "*.model", "*.jinja")  # that a model is loaded from
READING = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja")
INT8 = "int8-*.safetensors"  # of a model of transformers, which does not read them


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


def is_transformers(folder: Path) -> bool:
    """Our own configs name no type of model."""
    path = folder / "config.json"
    if not path.is_file() or path.stat().st_size > LARGEST_CONFIG:
        return False
    return "model_type" in read_object(path, remedy="copy the model again")


def transformers_weights(folder: Path) -> list[Path]:
    """The files that transformers reads: model.safetensors, or where there is none those of its
    index; or those with INT8 experts, which only RouteScope reads; empty where there are none."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        return sorted(folder.glob(INT8))
    named = read_object(index, remedy="copy the model again").get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{index} names no weights; copy the model again")
    names = sorted(set(named.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{index} names a file outside of its folder: {outside[0][:80]!r}")
    paths = [folder / name for name in names]
    if missing := [path for path in paths if not path.is_file()]:
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(paths)} weight shards, such as "
            f"{missing[0].name}; copy the rest"
        )
    return paths


def model_identity(folder: Path) -> str:
    """Equal only while no file of the model changes; nothing is read."""
    return file_identity(*sorted(path for pattern in FILES for path in folder.glob(pattern)))


def weight_paths(folder: Path) -> list[Path]:
    return transformers_weights(folder) if is_transformers(folder) else shard_paths(folder)


def int8_name(number: int, count: int) -> str:
    """Of the `number`-th, counted from 1."""
    return INT8.replace("*", f"{number:05}-of-{count:05}")


def model_sha256(folder: Path) -> str:
    """Over the config and every weight shard, in order, and of a model of transformers how it reads
    texts; read again only when a file changes. ValueError: a file is missing or damaged."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    return _sha256(folder, model_identity(folder))


def require_whole(path: Path) -> None:
    """The header says what a file holds and how long it is."""
    try:
        with safe_open(path, "numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({first_line(error)}); copy it again") from error


def _texts(folder: Path) -> list[Path]:
    """Ours have one tokenizer with the weights that were trained with it."""
    named = READING if is_transformers(folder) else ()
    return [folder / name for name in named if (folder / name).is_file()]


@lru_cache(maxsize=8)
def _sha256(folder: Path, identity: str) -> str:
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    weights = weight_paths(folder)
    for path in weights:
        require_whole(path)
    for path in [*weights, *_texts(folder)]:
        with path.open("rb") as file:
            while part := file.read(2**24):
                digest.update(part)
    return digest.hexdigest()
