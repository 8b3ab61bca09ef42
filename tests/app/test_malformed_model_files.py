"""What lies beside a model, changed at random, is read or refused in one line."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.studies import ablation, redundancy
from app.studies.compression import result
from app.studies.reader import CHECKPOINT
from app.views.training import record
from app.workspace import Training
from data.snapshots import read_snapshots
from data.training_folder import TrainingFolder
from data.training_log import domains_table, layers_table, read_log, steps_table
from tests.app.pages import page

PAGE_OF = {
    "causes.csv": "causes",
    "causes_controls.csv": "causes",
    "compression.csv": "redundancy",
    "redundancy.npz": "redundancy",
    "config.json": "redundancy",
    "evaluation.json": "training",
    "train_config.json": "training",
    "train_log.jsonl": "training",
    "snapshots.safetensors": "training",
}
NAMES = sorted(PAGE_OF)
WORDS = [b"", b"nan", b"-1", b"1e999", b"null", b"x", b"[]", b'"', b"{}", b"\xff", b"9" * 400]


@pytest.fixture
def model(traces: Path, tmp_path: Path) -> Path:
    """The shipped model, its weights by link and its log short."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in CHECKPOINT.iterdir():
        if path.name in PAGE_OF or path.name == "tokenizer.json":
            shutil.copyfile(path, folder / path.name)
        elif path.name.startswith("model-"):
            (folder / path.name).symlink_to(path)
    lines = (folder / "train_log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "train_log.jsonl").write_bytes(b"".join(lines[:40]))
    return folder


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, with flipped bytes, or with another word in the place of one."""
    kind = rng.integers(0, 2 if b"\0" in content else 4)
    if kind == 0:
        return content[: rng.integers(0, len(content))]
    if kind == 1:
        flipped = bytearray(content)
        for place in rng.integers(0, min(len(content), 3_000), size=4):
            flipped[place] = rng.integers(0, 256)
        return bytes(flipped)
    words = content.replace(b",", b"\0,\0").replace(b":", b"\0:\0").split(b"\0")
    for place in rng.integers(0, len(words), size=int(kind)):
        words[place] = WORDS[rng.integers(0, len(WORDS))]
    return b"".join(words)


def read_everything(folder: Path, name: str) -> None:
    files = TrainingFolder(folder)
    readers: dict[str, Callable[[], object]] = {
        "causes.csv": lambda: ablation.experiments(folder),
        "causes_controls.csv": lambda: ablation.shipped_controls(folder),
        "compression.csv": lambda: result.read_result(folder),
        "redundancy.npz": lambda: redundancy.stored(folder),
        "config.json": lambda: redundancy.stored(folder),
        "snapshots.safetensors": lambda: read_snapshots(files.snapshots),
        "train_log.jsonl": lambda: tables(read_log(files.log)),
    }
    read = readers.get(name, lambda: record.read(Training(folder.name, files, "finished")))
    read()


def tables(lines: list) -> None:
    steps_table(lines)
    layers_table(lines)
    for line in lines[-1:]:
        for key in line.by_domain:
            domains_table(lines, key)


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_refuses_in_one_line(name: str, model: Path) -> None:
    content = (model / name).read_bytes()
    for seed in range(30):
        (model / name).write_bytes(changed(content, np.random.default_rng(seed)))
        try:
            read_everything(model, name)
        except ValueError as error:
            if "\n" in str(error):
                raise


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(18))
def test_every_page_draws_or_refuses(seed: int, model: Path) -> None:
    name = NAMES[seed % len(NAMES)]
    path = model / name
    path.write_bytes(changed(path.read_bytes(), np.random.default_rng(1_000 + seed)))
    assert not page(PAGE_OF[name]).exception, (name, seed)


def test_an_array_that_claims_to_be_large_is_not_made(model: Path) -> None:
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(file, header)
    with (
        zipfile.ZipFile(model / "redundancy.npz") as given,
        zipfile.ZipFile(model / "changed.npz", "w") as written,
    ):
        for name in given.namelist():
            large = name == "outputs.npy"
            written.writestr(name, file.getvalue() if large else given.read(name))
    (model / "changed.npz").replace(model / "redundancy.npz")
    with pytest.raises(ValueError, match="is damaged; delete it"):
        redundancy.stored(model)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("causes.csv", "a,b\n1,2\n", "has no column domain"),
        ("causes.csv", "", "cannot be read: No columns"),
        ("compression.csv", "by\n\x00\n", "has no column"),
    ],
)
def test_tables_name_what_is_wrong(name: str, content: str, line: str, model: Path) -> None:
    (model / name).write_text(content)
    with pytest.raises(ValueError, match=line):
        read_everything(model, name)


def test_bits_per_byte_are_numbers(model: Path) -> None:
    (model / "evaluation.json").write_text(json.dumps({"moe": {"math": "two"}}))
    with pytest.raises(ValueError, match="holds no bits per byte by domain"):
        read_everything(model, "evaluation.json")
