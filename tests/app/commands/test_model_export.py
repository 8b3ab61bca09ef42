"""`routescope model export`: a folder for transformers, tokenizer included, and the way back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from app.cli import app
from app.studies.reader import Tracer, load_reader
from data.routing import Document, RoutingBatch
from data.tokenizer import EVERY_BYTE, load_tokenizer
from model.checkpoint import load_model, save_model
from model.compress import with_int8_experts
from tests.app.shell import Run
from tests.disk import full_disk
from tests.model.captures import Batches
from tests.tokenizers import byte_tokenizer

TEXTS = ["the cat sat on 12345", "", " a  <|endoftext|>b\r\n", EVERY_BYTE]


def export(folder: Path, out: Path, to: str) -> str:
    arguments = ["model", "export", str(folder), str(out), "--to", to]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_there_and_back(model: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "new" / "hf", tmp_path / "back"
    said = export(model, there, "transformers")
    assert said == f"Qwen2MoeForCausalLM, 64 tokens of context.\nWritten to {there}\n"
    said = export(there, back, "routescope")
    assert said == f"3 blocks, 2 of 8 experts.\nWritten to {back}\n"
    shard = "model-00001-of-00001.safetensors"
    assert (back / shard).read_bytes() == (model / shard).read_bytes()
    ids_BS = torch.arange(60).reshape(2, 30)
    theirs = AutoModelForCausalLM.from_pretrained(there).eval()(ids_BS).logits
    assert (theirs - load_model(model)(ids_BS)).abs().max() <= 1e-5
    assert load_reader(back).model.encode(TEXTS) == load_reader(model).model.encode(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "folder"])  # tokenizers of cats, and of bytes alone
def test_their_tokenizer_gives_our_ids(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source: Path = request.getfixturevalue(name)
    export(source, tmp_path / "hf", "transformers")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf")
    ours = load_tokenizer(source / "tokenizer.json")
    ids = theirs(TEXTS)["input_ids"]
    assert ids == [[0, *encoding.ids] for encoding in ours.encode_batch(TEXTS)]
    assert [theirs.decode(one[1:]) for one in ids] == TEXTS
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 0, 0)
    assert len(theirs) == ours.get_vocab_size()


@pytest.mark.slow
def test_what_a_tokenizer_file_asks_for_beyond_ours_is_left_out(
    folder: Path, tmp_path: Path
) -> None:
    asking = byte_tokenizer()
    asking.enable_truncation(2)
    asking.enable_padding(length=9)
    copied = tmp_path / "model"
    copied.mkdir()
    for path in folder.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    asking.save(str(copied / "tokenizer.json"))
    export(copied, tmp_path / "hf", "transformers")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "hf")("abc")["input_ids"]) == 1 + 3


@pytest.mark.slow
def test_a_trace_is_the_same_either_way(model: Path, tmp_path: Path) -> None:
    """Choice by choice; transformers' has the start token of each text too."""
    export(model, tmp_path / "hf", "transformers")
    ours, theirs = (read(load_reader(folder)) for folder in (model, tmp_path / "hf"))
    texts = theirs.position_T > 0
    assert [x for x, own in zip(theirs.special_T or [], texts, strict=True) if own or not x] == (
        [None] * len(ours.doc_id_T)
    )
    assert (theirs.token_id_T[texts] == ours.token_id_T).all()
    assert (theirs.expert_ids_TLK[texts] == ours.expert_ids_TLK).all()
    np.testing.assert_allclose(theirs.weights_TLK[texts], ours.weights_TLK, atol=1e-6)
    np.testing.assert_allclose(theirs.loss_T[texts], ours.loss_T, atol=1e-4)
    for name in ("entropy_TL", "margin_TL"):
        mine, other = getattr(ours, name), getattr(theirs, name)[texts]
        np.testing.assert_allclose(other, mine, atol=1e-5)


def read(reader: Tracer) -> RoutingBatch:
    sink = Batches()
    texts = [text for text in TEXTS if text]
    reader.capture([Document(doc_id=n, text=text) for n, text in enumerate(texts)], sink)
    return sink.joined()


def test_int8_experts_are_named(folder: Path, tmp_path: Path) -> None:
    save_model(with_int8_experts(load_model(folder)), tmp_path / "int8")
    (tmp_path / "int8" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    said = export(tmp_path / "int8", tmp_path / "hf", "transformers")
    assert "INT8 experts were written as the float32 numbers that they stand for." in said


def test_what_cannot_be_exported_is_one_line_and_nothing_is_left(
    refused: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    line = refused("model", "export", folder, tmp_path / "there", "--to", "transformers")
    assert "exists and is not an empty folder" in line
    line = refused("model", "export", folder, tmp_path / "new", "--to", "routescope")
    assert "is of the type None; llama, mixtral, qwen2_moe, glm4_moe can be read" in line
    config = json.loads((folder / "config.json").read_text()) | {"capacity_factor": 1.25}
    (tmp_path / "there" / "config.json").write_text(json.dumps(config))
    (tmp_path / "there" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    line = refused("model", "export", tmp_path / "there", tmp_path / "new", "--to", "transformers")
    assert "has experts of limited capacity (capacity_factor 1.25)" in line
    with full_disk(4_096):
        line = refused("model", "export", folder, tmp_path / "new", "--to", "transformers")
    assert "File too large" in line
    assert not (tmp_path / "new").exists()
    assert list(tmp_path.glob(".*")) == []


def test_a_folder_without_a_tokenizer_is_refused(
    refused: Run, folder: Path, tmp_path: Path
) -> None:
    export(folder, tmp_path / "hf", "transformers")
    (tmp_path / "hf" / "tokenizer.json").unlink()
    line = refused("model", "export", tmp_path / "hf", tmp_path / "back", "--to", "routescope")
    assert "no tokenizer at" in line
    assert not (tmp_path / "back").exists()
