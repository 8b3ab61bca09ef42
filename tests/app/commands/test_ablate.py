"""`routescope ablate` on a tiny model: what it stores, prints and refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from analysis import queries
from app.commands.ablate import ablate
from app.commands.capture import capture
from app.commands.signals import INTERRUPTED
from app.sidecars import CAUSES
from app.studies import ablation, claims
from app.studies.claims import Expert
from data.sidecar import Sidecar, read_sidecar, sidecar_path
from data.store import open_trace

pytestmark = pytest.mark.slow

CLI = typer.Typer()
CLI.command()(ablate)
CLI.command()(capture)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


@pytest.fixture
def trace(tmp_path: Path, folder: Path) -> Path:
    """Twenty-four short texts of two domains: six of each judge."""
    return captured(tmp_path, folder, texts=12)


def captured(place: Path, folder: Path, *, texts: int) -> Path:
    """So many of each domain."""
    prompts = place / "prompts.jsonl"
    lines = [
        {"text": text * 3 + str(n), "domain": domain}
        for n in range(texts)
        for text, domain in (("1+1=2 ", "math"), ("def f ", "code"))
    ]
    prompts.write_text("\n".join(map(json.dumps, lines)))
    path = place / "t.duckdb"
    assert run("capture", prompts, "--out", path, "--model", folder).exit_code == 0
    return path


@pytest.fixture
def experts(trace: Path) -> list[Expert]:
    return busiest(trace)


def busiest(trace: Path) -> list[Expert]:
    """Of each layer."""
    with open_trace(trace) as con:
        load = queries.expert_tokens(con).sort_values("tokens").groupby("layer_id").last()
    return list(zip(load.index.tolist(), load.expert_id.tolist(), strict=True))


def named(experts: list[Expert]) -> str:
    return ",".join(f"{layer}:{expert}" for layer, expert in experts)


def test_six_rows_an_expert_printed_and_stored(
    trace: Path, folder: Path, experts: list[Expert]
) -> None:
    given = ("--experts", named(experts), "--tokens", 30, "--json")
    result = run("ablate", "--trace", trace, "--model", folder, *given)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["layer_id"], row["expert_id"]) for row in rows] == [
        expert for expert in experts for _ in range(6)
    ]
    assert {row["domain"] for row in rows} <= {"math", "code"}
    with open_trace(trace) as con:
        found = read_sidecar(trace, CAUSES, of=queries.trace_info(con))
    assert isinstance(found, Sidecar)
    stored = found.frame[found.frame.claimed]
    assert stored.estimate.tolist() == [row["estimate"] for row in rows]
    assert "experts to leave out" in result.stderr
    assert "took" in result.stderr
    assert found.parameters["seed"] == 0
    assert found.parameters["tokens_per_domain"] == 30


def test_without_json_it_prints_a_table(trace: Path, folder: Path, experts: list[Expert]) -> None:
    given = ("--experts", named(experts[:1]), "--tokens", 30)
    result = run("ablate", "--trace", trace, "--model", folder, *given)
    assert result.exit_code == 0, result.output
    head, *lines = result.stdout.splitlines()
    assert head.split()[:5] == ["layer_id", "expert_id", "domain", "group", "estimate"]
    assert len(lines) == 7  # and how often the rule confirms, where any were judged
    assert lines[6].startswith("The specialist left out is")
    assert "<NA>" not in result.stdout


def test_what_cannot_be_stored_is_printed(
    trace: Path, folder: Path, experts: list[Expert], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **settings: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(ablation, "write_sidecar", full)
    given = ("--experts", named(experts[:1]), "--tokens", 30)
    result = run("ablate", "--trace", trace, "--model", folder, *given)
    assert isinstance(result.exception, OSError)
    assert "double difference" in result.stdout


def test_a_folder_in_its_place_is_refused_before_the_work(
    trace: Path, folder: Path, experts: list[Expert]
) -> None:
    sidecar_path(trace, CAUSES).mkdir()
    result = run("ablate", "--trace", trace, "--model", folder, "--experts", named(experts))
    assert isinstance(result.exception, ValueError)
    assert f"and `routescope ablate --trace {trace}` makes the result." in str(result.exception)
    assert "experts to leave out" not in result.stderr


def test_interrupted_nothing_is_stored(
    trace: Path, folder: Path, experts: list[Expert], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "ablate", interrupted)
    result = run("ablate", "--trace", trace, "--model", folder, "--experts", named(experts))
    assert result.exit_code == INTERRUPTED
    assert not sidecar_path(trace, CAUSES).is_file()


@pytest.mark.parametrize(
    ("experts", "line"),
    [("0-0", "not LAYER:EXPERT"), ("0:99", "there is no expert 0:99"), ("9:0", "no expert 9:0")],
)
def test_a_wrong_name_is_refused(trace: Path, folder: Path, experts: str, line: str) -> None:
    result = run("ablate", "--trace", trace, "--model", folder, "--experts", experts)
    assert isinstance(result.exception, ValueError)
    assert line in str(result.exception)
    assert not sidecar_path(trace, CAUSES).is_file()


def test_where_no_text_is_left_to_judge_it_is_refused(trace: Path) -> None:
    """A text of the other half may be without a choice."""
    with open_trace(trace) as con:
        info = queries.trace_info(con)
        found = claims.halves(con, info)
        none = replace(found, judges=found.judges.iloc[:0])
        with pytest.raises(ValueError, match="no text is left to judge"):
            ablation.plan(con, info, none, [], tokens_per_domain=10, seed=0)


def test_an_expert_that_the_choosing_half_lacks_is_named_so(tmp_path: Path, folder: Path) -> None:
    """Of two texts one chooses, and the busiest experts are those of both."""
    trace = captured(tmp_path, folder, texts=1)
    with open_trace(trace) as con:
        lifts = claims.halves(con, queries.trace_info(con)).lifts
    unseen = lifts.groupby(["layer_id", "expert_id"]).n_tokens.max()
    layer, expert = unseen.index[unseen == 0][0]
    names = f"{layer}:{expert}"
    result = run("ablate", "--trace", trace, "--model", folder, "--experts", names)
    assert f"expert {names} is never chosen in the half of the texts" in str(result.exception)


def test_another_model_is_refused(trace: Path) -> None:
    result = run("ablate", "--trace", trace)
    assert isinstance(result.exception, ValueError)
    assert "the trace was made by model" in str(result.exception)
