"""`routescope train` and `routescope model`, from the command line's side."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.train import batches, heldout_sample
from data.routing import DOMAINS
from data.tokens import TokenizedDocument, TokenStore, write_tokens

runner = CliRunner()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One document of 600 tokens in each domain, both splits."""
    for split in ("train", "heldout"):
        documents = [
            TokenizedDocument(np.arange(g, g + 600, dtype=np.uint16), domain, 1200)
            for g, domain in enumerate(DOMAINS)
        ]
        write_tokens(tmp_path, split, documents, DOMAINS)
    return tmp_path


def test_a_training_ends_with_weights_and_bits_per_byte(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["train", str(folder), "--corpus", str(corpus), "--steps", "2", "--batch-size", "1"]
    result = runner.invoke(app, [*command, "--warmup-steps", "1", "--json"])
    summary = json.loads(result.stdout)
    assert summary["finished"]
    assert set(summary["bits_per_byte"]) == {*DOMAINS, "all"}
    # untrained: about ln(16384) nats a token, 601 targets in 1200 bytes
    assert summary["bits_per_byte"]["all"] == pytest.approx(7, rel=0.2)
    assert (folder / "snapshots.safetensors").exists()

    shipped = runner.invoke(
        app, ["model", "ship", str(folder), str(folder), "--out", str(tmp_path / "shipped")]
    )
    assert shipped.exit_code == 0
    described = runner.invoke(app, ["model", "describe", str(tmp_path / "shipped"), "--json"])
    assert json.loads(described.stdout)["parameters"] == 23_736_576


def test_a_batch_depends_on_the_step_alone(corpus: Path) -> None:
    store = TokenStore.load(corpus, "train")
    first, second = (batches(store, 512, 4, seed=0) for _ in range(2))
    assert (first(7) == second(7)).all()
    assert first(0).shape == (4, 513)
    with pytest.raises(ValueError, match="fewer than one batch of 100"):
        batches(store, 512, 100, seed=0)


def test_the_sample_takes_as_many_sequences_of_every_domain(corpus: Path) -> None:
    sample_BS = heldout_sample(TokenStore.load(corpus, "heldout"), 512)
    assert sample_BS.shape == (6, 512)  # one long enough document in each
    assert sample_BS[:, 0].tolist() == [0] * 6  # each begins with <|endoftext|>


def test_describe_prints_the_sizes_of_16b() -> None:
    result = runner.invoke(app, ["model", "describe", "16b", "--json"])
    assert json.loads(result.stdout)["parameters"] == 16_375_728_128


def test_an_unknown_preset_is_named() -> None:
    result = runner.invoke(app, ["model", "describe", "17b"])
    assert isinstance(result.exception, ValueError)
    assert "neither a preset (tiny, 2b, 16b, 145b) nor a folder" in str(result.exception)


def test_an_unfinished_training_is_not_shipped(tmp_path: Path) -> None:
    result = runner.invoke(app, ["model", "ship", str(tmp_path), str(tmp_path)])
    assert "not a finished training" in str(result.exception)
