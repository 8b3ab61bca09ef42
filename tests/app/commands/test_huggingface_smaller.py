"""`routescope prune` and `quantize` on folders of transformers: what they write loads there, and
costs what it must."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

from app.commands import prune as command
from app.studies import redundancy
from app.studies.compression import texts
from app.studies.reader import load_tracer
from model.fingerprint import model_sha256
from model.intervene import masked
from tests.families.folders import SIX, write_folder
from tests.families.shrink import EXPERTS

pytestmark = pytest.mark.slow
CLI = typer.Typer()
CLI.command()(command.prune)
CLI.command()(command.quantize)
IDS_BS = torch.arange(1, 61).view(2, 30)
SUMMING = ("mixtral", "gpt_oss")  # mixing weights sum to 1 whoever is there, and no groups


@pytest.fixture(autouse=True)
def heldout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve short texts of two domains a file: the one measured on, the one calibrated with."""
    for name in ("heldout", "mine"):
        lines = [
            {"text": f"{text} {name} {number} " * 4, "domain": domain}
            for number in range(6)
            for text, domain in (("1+1=2", "math"), ("def f", "code"))
        ]
        pd.DataFrame(lines).to_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(texts, "HELDOUT", tmp_path / "heldout.parquet")
    return tmp_path / "mine.parquet"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


def pruned(source: Path, out: Path, heldout: Path, *, share: float = 0.25) -> dict[str, Any]:
    given = ("--by", "saliency", "--share", share, "--text", heldout, "--json")
    result = run("prune", source, "--out", out, *given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def logits(folder: Path) -> torch.Tensor:
    """By transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(IDS_BS).logits


@pytest.mark.parametrize("name", SIX)
def test_the_least_salient_go_and_transformers_loads_the_rest(
    name: str, heldout: Path, tmp_path: Path
) -> None:
    source, out = write_folder(name, tmp_path / "model"), tmp_path / "small"
    found = pruned(source, out, heldout)
    tracer = load_tracer(source)
    layers = len(tracer.model.moe_layers())
    assert found["experts_by_layer"] == [[EXPERTS] * layers, [EXPERTS - 2] * layers]
    assert found["bytes"][1] < found["bytes"][0]
    kept = json.loads((out / "experts.json").read_text())
    assert kept["original_sha256"] == model_sha256(source)
    known = redundancy.measure(tracer, redundancy.calibration(tracer.model, heldout))
    for saliency_E, ids in zip(known.saliency_LE, kept["kept"].values(), strict=True):
        assert ids == sorted(ids)
        if name.startswith("deepseek"):  # two groups of four, of which one goes each
            least = {int(saliency_E[:4].argmin()), 4 + int(saliency_E[4:].argmin())}
        else:
            least = set(np.argsort(saliency_E)[:2].tolist())
        assert set(range(EXPERTS)) - set(ids) == least
    assert logits(out).isfinite().all()
    assert 0 < found["changed_choices"]["estimate"] < 1
    assert found["bits_per_byte"][-1]["change"] != 0


@pytest.mark.parametrize("name", SUMMING)
def test_a_pruned_model_is_the_original_with_those_experts_masked(
    name: str, heldout: Path, tmp_path: Path
) -> None:
    source, out = write_folder(name, tmp_path / "model"), tmp_path / "small"
    pruned(source, out, heldout)
    kept = json.loads((out / "experts.json").read_text())["kept"]
    model = load_tracer(source).model
    gone = {
        layer: sorted(set(range(EXPERTS)) - set(ids)) for layer, ids in enumerate(kept.values())
    }
    with torch.inference_mode(), masked(model, gone):
        expected = model.logits(IDS_BS)
    assert (logits(out) - expected).abs().max() < 1e-5


def test_shards_stay_shards_and_types_stay(heldout: Path, tmp_path: Path) -> None:
    source = write_folder("mixtral", tmp_path / "one")
    sharded = tmp_path / "model"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model.save_pretrained(sharded, max_shard_size="100KB")
    for path in source.glob("tokenizer*"):
        (sharded / path.name).write_bytes(path.read_bytes())
    pruned(sharded, tmp_path / "small", heldout)
    names = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert len(names) > 1
    assert sorted(path.name for path in (tmp_path / "small").glob("*.safetensors")) == names
    tensors = load_file(tmp_path / "small" / names[0])
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("mixtral", ("--by", "outputs"), "none can run another's; use --by saliency"),
        ("mixtral", ("--by", "saliency", "--share", "0.1"), "less than one expert per layer"),
        ("mixtral", ("--by", "saliency", "--share", "0.9"), "1 experts of a layer would be left"),
        ("deepseek_v3", ("--by", "saliency", "--share", "0.2"), "less than one expert per group"),
        ("deepseek_v3", ("--by", "saliency", "--share", "0.75"), "1 experts of each of 2 groups"),
        ("jamba", ("--by", "saliency"), "experts of jamba cannot be taken out here"),
    ],
)
def test_what_cannot_be_pruned_is_refused(
    name: str, given: tuple[str, ...], line: str, heldout: Path, tmp_path: Path
) -> None:
    source = write_folder(name, tmp_path / "model")
    result = run("prune", source, "--out", tmp_path / "x", "--text", heldout, *given)
    assert isinstance(result.exception, ValueError), result.output
    assert line in str(result.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", SIX)
def test_int8_experts_are_smaller_and_read_by_routescope(name: str, tmp_path: Path) -> None:
    source, out = write_folder(name, tmp_path / "model"), tmp_path / "int8"
    result = run("quantize", source, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["bytes"][1] < 0.8 * found["bytes"][0]
    assert found["parameters"][0] == found["parameters"][1]
    assert 0 < abs(found["bits_per_byte"][-1]["change"]) < 0.05
    whole, rounded = (dict(load_tracer(x).model.module.named_parameters()) for x in (source, out))  # type: ignore[attr-defined]
    for key, weight in whole.items():
        apart = float((rounded[key] - weight).detach().abs().max() / weight.detach().abs().max())
        assert apart <= 0.006 if ".experts." in key else apart == 0  # half of 1/127, and the scale
    with pytest.raises(OSError, match="no file named"):
        AutoModelForCausalLM.from_pretrained(out)
    again = run("quantize", out, "--out", tmp_path / "again")
    assert "are quantized already" in str(again.exception)
    assert not (tmp_path / "again").exists()
