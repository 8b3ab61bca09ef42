"""`routescope prune` and `quantize` on a tiny model: what they write, print and refuse."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from analysis import queries
from analysis.redundancy import CLOSED
from app.commands import prune as command
from app.commands.capture import capture
from app.commands.signals import INTERRUPTED
from app.studies import redundancy
from app.studies.compression import result as written
from app.studies.compression import texts
from app.studies.reader import load_tracer
from app.studies.redundancy import stored
from data.store import open_trace
from model.config_file import load_config

CLI = typer.Typer()
CLI.command()(command.prune)
CLI.command()(command.quantize)
CLI.command()(capture)


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


def checksum(path: Path) -> str:
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())
    ).hexdigest()


def refused(result: Result, line: str, out: Path) -> None:
    assert isinstance(result.exception, ValueError), result.output
    assert line in str(result.exception)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}.*"))


@pytest.mark.slow
def test_the_least_salient_go_and_the_original_stays(
    folder: Path, heldout: Path, tmp_path: Path
) -> None:
    before, out = checksum(folder), tmp_path / "new" / "small"
    given = ("--by", "saliency", "--share", 0.25, "--text", heldout, "--json")
    result = run("prune", folder, "--out", out, *given)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    experts = load_config(folder).num_experts
    layers = load_config(folder).num_moe_layers
    kept = experts - experts // 4
    assert found["experts_by_layer"] == [[experts] * layers, [kept] * layers]
    assert found["parameters"][1] < found["parameters"][0]
    assert found["bytes"][1] < found["bytes"][0]
    assert [row["domain"] for row in found["bits_per_byte"]] == ["math", "code", "all"]
    assert found["bits_per_byte"][2]["n"] == 12
    assert found["bits_per_byte"][2]["low"] is not None
    assert checksum(folder) == before
    assert load_config(out).expert_leaders is not None
    rows = pd.read_csv(out / written.FILE)
    assert set(rows.experts) == {kept * layers}
    assert rows.threshold.isna().all()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["drop", "merge"])
@pytest.mark.parametrize("by", ["outputs", "weights", "aligned", "routing"])
def test_every_similarity_prunes(
    by: str, how: str, folder: Path, heldout: Path, tmp_path: Path
) -> None:
    tracer = load_tracer(folder)
    found = redundancy.measure(tracer, redundancy.calibration(tracer.model, heldout))
    threshold = found.highest(by)[0]
    given = ("--by", by, "--how", how, "--threshold", threshold, "--text", heldout, "--json")
    result = run("prune", folder, "--out", tmp_path / "small", *given)
    assert result.exit_code == 0, result.output
    before, after = json.loads(result.stdout)["experts_by_layer"]
    assert sum(after) == sum(before) - 1


@pytest.mark.slow
def test_a_pruned_model_is_captured_with_a_row_for_every_expert(
    folder: Path,
    heldout: Path,
    tmp_path: Path,
) -> None:
    out, trace = tmp_path / "small", tmp_path / "t.duckdb"
    given = ("--by", "saliency", "--share", 0.25, "--text", heldout)
    assert run("prune", folder, "--out", out, *given).exit_code == 0
    assert run("capture", heldout, "--out", trace, "--model", out).exit_code == 0
    config = load_config(out)
    with open_trace(trace) as con:
        tokens = queries.expert_tokens(con)
    assert len(tokens) == config.num_moe_layers * config.num_experts
    closed = np.array(config.expert_leaders).ravel() == CLOSED
    assert closed.any()
    assert (tokens.tokens[closed] == 0).all()


def test_int8_experts_are_smaller_and_hardly_worse(folder: Path, tmp_path: Path) -> None:
    result = run("quantize", folder, "--out", tmp_path / "int8", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["bytes"][1] < found["bytes"][0]
    assert found["parameters"][1] == found["parameters"][0]
    assert abs(found["bits_per_byte"][-1]["change"]) < 0.02
    again = run("quantize", tmp_path / "int8", "--out", tmp_path / "again")
    refused(again, "are already INT8", tmp_path / "again")


def test_nothing_alike_is_said_and_nothing_written(
    folder: Path, heldout: Path, tmp_path: Path
) -> None:
    result = run("prune", folder, "--out", tmp_path / "x", "--text", heldout, "--threshold", 1)
    refused(result, "no two experts reach 1 by outputs", tmp_path / "x")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("--share", "1"), "below 1"),
        (("--by", "colour"), "is not one of outputs"),
        (("--by", "saliency", "--how", "merge"), "makes no groups"),
        (("--by", "saliency", "--share", "0.99"), "and a token chooses"),
        (("--threshold", "0", "--by", "aligned"), "and a token chooses"),
        (("--by", "saliency", "--share", "0.01"), "less than one expert"),
    ],
)
def test_what_cannot_be_is_refused(
    given: tuple[str, ...], line: str, folder: Path, heldout: Path, tmp_path: Path
) -> None:
    result = run("prune", folder, "--out", tmp_path / "x", "--text", heldout, *given)
    refused(result, line, tmp_path / "x")


def test_texts_without_tokens_and_a_missing_model_are_refused(
    folder: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    result = run("prune", folder, "--out", tmp_path / "x", "--text", tmp_path / "empty.txt")
    refused(result, "", tmp_path / "x")
    result = run("prune", tmp_path / "none", "--out", tmp_path / "x")
    refused(result, "config.json is missing", tmp_path / "x")


def test_a_folder_with_something_in_it_is_never_touched(folder: Path, heldout: Path) -> None:
    before = checksum(folder)
    for name in ("prune", "quantize"):
        result = run(name, folder, "--out", folder)
        assert "is not an empty folder" in str(result.exception)
    assert checksum(folder) == before


@pytest.mark.slow
def test_interrupted_nothing_stays(
    folder: Path, heldout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", interrupted)
    out = tmp_path / "x"
    given = ("--by", "saliency", "--text", heldout)
    assert run("prune", folder, "--out", out, *given).exit_code == INTERRUPTED
    assert not out.exists()
    assert not list(tmp_path.glob(".x.*"))


def test_what_was_measured_is_read_again_until_the_weights_change(
    folder: Path, heldout: Path
) -> None:
    tracer = load_tracer(folder)
    found = redundancy.measure(tracer, redundancy.calibration(tracer.model, heldout))
    assert stored(folder) is None
    redundancy.store(folder, found)
    again = stored(folder)
    assert again is not None
    assert (again.aligned == found.aligned).all()
    assert again.num_tokens == found.num_tokens
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_base": 20_000.0}))
    assert stored(folder) is None
    (folder / redundancy.FILE).write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="is damaged"):
        stored(folder)
