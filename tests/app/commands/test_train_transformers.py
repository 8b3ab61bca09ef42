"""`routescope train --model-class`: a model of transformers, from the command line's side."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner, Result

from app.cli import app
from data.routing import DOMAINS
from data.tokens import TokenizedDocument, write_tokens
from tests.tokenizers import cat_tokenizer

runner = CliRunner()
CONFIG = {
    "model_type": "olmoe",
    "vocab_size": 1024,
    "max_position_embeddings": 64,
    "hidden_size": 16,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One document of 100 tokens in each domain, both splits."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split in ("train", "heldout"):
        documents = [
            TokenizedDocument(np.arange(g, g + 100, dtype=np.uint16), domain, 200)
            for g, domain in enumerate(DOMAINS)
        ]
        write_tokens(folder, split, documents, DOMAINS)
    cat_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def trained(corpus: Path, config: object, *options: str) -> Result:
    path = corpus.parent / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    command = ["train", str(corpus.parent / "run"), "--corpus", str(corpus)]
    command += ["--model-class", f"transformers:{path}", "--batch-size", "2", "--steps", "2"]
    return runner.invoke(app, [*command, "--warmup-steps", "1", *options])


@pytest.mark.slow
def test_what_a_training_leaves_loads_in_transformers(corpus: Path) -> None:
    result = trained(corpus, CONFIG, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["finished"]
    # untrained: about ln(1024) nats a token, 101 targets in 200 bytes
    assert summary["bits_per_byte"]["all"] == pytest.approx(5, rel=0.1)
    run = corpus.parent / "run"
    assert AutoModelForCausalLM.from_pretrained(run).config.num_experts == 8
    tokenizer = AutoTokenizer.from_pretrained(run)
    assert tokenizer("the cat")["input_ids"] == [0, *cat_tokenizer().encode("the cat").ids]
    assert tokenizer.convert_ids_to_tokens(0) == tokenizer.bos_token == "<|endoftext|>"
    assert (run / "snapshots.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--preset", "tiny"], "--preset"),
        (["--segments", "2"], "--segments"),
        (["--shared", "1"], "--shared"),
        (["--dense"], "--dense"),
        (["--stages", "article"], "--stages"),
        (["--parallel"], "--parallel"),
    ],
)
def test_what_is_of_our_own_models_does_not_go_with_it(
    corpus: Path, options: list[str], named: str
) -> None:
    result = trained(corpus, CONFIG, *options)
    assert f"{named} and --model-class do not go together" in str(result.exception)
    assert not (corpus.parent / "run").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        (CONFIG | {"model_type": "olmoe9"}, "the model_type 'olmoe9', which this version"),
        (CONFIG | {"model_type": "llama"}, "has no MoE layers"),
        (CONFIG | {"vocab_size": 100}, "has the token id 104, the model ids below 100"),
        (CONFIG | {"max_position_embeddings": 512}, "fills the context of 512 tokens"),
        (CONFIG | {"num_experts_per_tok": 9}, "transformers makes no model of"),
        (CONFIG | {"hidden_size": 17}, "transformers makes no model of"),
    ],
)
def test_a_config_that_cannot_be_trained_is_one_line(
    corpus: Path, config: object, said: str
) -> None:
    result = trained(corpus, config)
    assert isinstance(result.exception, ValueError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (corpus.parent / "run").exists()


def test_a_class_of_another_library_is_refused(tmp_path: Path) -> None:
    command = ["train", str(tmp_path / "run"), "--corpus", str(tmp_path), "--model-class", "x.json"]
    result = runner.invoke(app, command)
    assert "give transformers:CONFIG.json" in str(result.exception)
