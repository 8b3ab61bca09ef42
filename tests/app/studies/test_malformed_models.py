"""Model folders that are cut, edited or made up are refused in one line, whatever is wrong."""

import json
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.studies.reader import load_reader
from app.studies.scoring import text_nats
from model.checkpoint import load_model
from model.config import ModelConfig
from model.config_file import load_config

NAMES = [field.name for field in fields(ModelConfig)]
VALUES: list[object] = [
    *(None, -1, 0, 1, 7, 10**9, 10**30, 1.5, "x"),
    *(True, [], [[0]], {}, float("nan"), 1e400),
]


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "model"))


def read(folder: Path) -> None:
    """As a command does: load, and read a text."""
    text_nats(load_reader(folder), ["1+1=2"], on_progress=lambda done, total: None)


def only_refuses(folder: Path) -> bool:
    """Whether the folder was refused; any other error than that of one line fails the test."""
    try:
        read(folder)
    except ValueError as error:
        if "\n" not in str(error):
            return True
        raise
    return False


@pytest.mark.parametrize("name", NAMES)
def test_no_value_in_a_config_raises_anything_else(name: str, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    read(copied)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = []
    for value in VALUES:
        (copied / "config.json").write_text(json.dumps(config | {name: value}))
        refused.append(only_refuses(copied))
    assert sum(refused) >= 9  # the strings, lists, objects and what is not finite, at least
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


@pytest.mark.parametrize("name", NAMES)
def test_a_config_without_a_field_is_whole_or_refused(name: str, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != name}))
    only_refuses(copied)


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_of_any_file_are_read_or_refused(seed: int, copied: Path) -> None:
    rng = np.random.default_rng(seed)
    paths = sorted(copied.iterdir())
    path = paths[seed % len(paths)]
    content = bytearray(path.read_bytes())
    early = rng.integers(0, min(len(content), 600), size=8)  # headers are at the beginning
    for place in early:
        content[place] = rng.integers(0, 256)
    path.write_bytes(bytes(content))
    only_refuses(copied)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_files_that_are_cut_are_refused(share: float, copied: Path) -> None:
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert only_refuses(copied), path.name
        path.write_bytes(content)
    assert not only_refuses(copied)


def test_files_that_are_gone_or_folders_are_refused(copied: Path) -> None:
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        path.unlink()
        assert only_refuses(copied), path.name
        path.mkdir()
        assert only_refuses(copied), path.name
        path.rmdir()
        path.symlink_to("nowhere")
        assert only_refuses(copied), path.name
        path.unlink()
        path.write_bytes(content)
    assert not only_refuses(copied)


Tensors = dict[str, torch.Tensor]
FIRST = "layers.0.attention_norm.weight_D"


def _without(tensors: Tensors) -> None:
    del tensors[FIRST]


def _more(tensors: Tensors) -> None:
    tensors["layers.9.attention_norm.weight_D"] = torch.ones(16)


def _wider(tensors: Tensors) -> None:
    tensors[FIRST] = torch.ones(17)


def _whole(tensors: Tensors) -> None:
    tensors[FIRST] = tensors[FIRST].to(torch.int32)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_without, f"do not fit its config: {FIRST} is missing"),
        (_more, "layers.9.attention_norm.weight_D belongs to none of its layers"),
        (_wider, f"{FIRST} has the shape [17], not [16]"),
        (_whole, f"{FIRST} is of I32, not of BF16, F16, F32"),
    ],
)
def test_weights_are_compared_with_the_config(
    change: Callable[[Tensors], None], line: str, copied: Path
) -> None:
    shard = next(copied.glob("model-*"))
    tensors = load_file(shard)
    change(tensors)
    save_file(tensors, shard)
    with pytest.raises(ValueError, match=re.escape(line)):
        load_model(copied)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["model-00001-of-00002.safetensors"], "1 of 2 weight shards"),
        (
            [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3, 4)],
            "is beyond the 3 shards of it; remove it",
        ),
        (["model-x.safetensors"], "model-x.safetensors in"),
        (
            ["model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors"],
            "shards of several models",
        ),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            "repeats",
        ),
    ],
)
def test_shards_that_are_no_set_are_refused(names: list[str], line: str, copied: Path) -> None:
    [shard] = copied.glob("model-*")
    content = shard.read_bytes()
    shard.unlink()
    for name in names:
        (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=line):
        load_model(copied)


def test_a_context_of_a_billion_tokens_is_refused_by_its_number(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"context_length": 10**9}))
    with pytest.raises(
        ValueError, match=r"context_length \(1000000000\) must be an integer from 1"
    ):
        load_config(copied)
