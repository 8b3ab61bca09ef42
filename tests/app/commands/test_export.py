import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.export import FORMS
from app.studies.exports import EXPORTS, Settings, Subject, content, named
from data.routing import Document, RoutingBatch
from data.store import open_trace
from tests.data.importers.parquet_folders import counted_trace, write
from tests.routing_batches import description
from tests.uneven import write_uneven_trace

CHOICES = {  # of the tiny trace: tests/traces.py
    "sglang": {"physical_to_logical_map": [[0, 1, 2, 3]] * 2},
    "sglang-counts": {"logical_count": [[5, 8, 3, 0], [4, 4, 4, 4]]},
    "eplb": [[5, 8, 3, 0], [4, 4, 4, 4]],
    "llmcompressor": {"0": [0, 1], "1": [0, 1]},
    "esft": {
        "experts": {"0": [1], "1": [0]},  # 8 of 16, and 4 of 16
        "shared_experts": False,
        "non_expert_modules": False,
    },
}


def export(trace: Path, form: str, out: Path, *options: str) -> tuple[str, str]:
    """What is printed, and what is said beside it. ValueError as the command line has it."""
    arguments = ["export", str(trace), "--as", form, "--out", str(out), *options]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.stderr


def out_name(form: str) -> str:
    return form + "".join(one.suffixes[0] for one in EXPORTS if one.name == form and one.suffixes)


def exported(trace: Path, form: str, out: Path, *options: str) -> Any:
    export(trace, form, out, *options)
    return json.loads(out.read_text())


@pytest.mark.parametrize("form", CHOICES)
def test_an_export_says_of_experts_what_the_trace_does(
    tmp_path: Path, tiny_trace: Path, form: str
) -> None:
    assert exported(tiny_trace, form, tmp_path / "a.json", "--keep", "2") == CHOICES[form]


def test_a_share_of_the_gate_selects_otherwise(tmp_path: Path, tiny_trace: Path) -> None:
    def selected(*options: str) -> object:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        return exported(tiny_trace, "esft", out, *options)["experts"]["0"]

    assert selected("--top-p", "0.5") == [1]  # 8 of 16 choices
    assert selected("--score", "gate", "--top-p", "0.5") == [0, 2]  # 3.75, 2.4, 1.85 of 8
    assert selected("--top-p", "0.51") == [1, 0]


def test_experts_are_kept_by_weight_where_that_is_asked(tmp_path: Path, tiny_trace: Path) -> None:
    out = tmp_path / "a.json"
    _, said = export(tiny_trace, "llmcompressor", out, "--keep", "1", "--by", "weight")
    assert said == "kept are the 1 experts of each layer with the largest sums of weights\n"
    assert json.loads(out.read_text()) == {"0": [0], "1": [0]}


def test_scores_of_both_kinds_are_means_over_tokens(tmp_path: Path, tiny_trace: Path) -> None:
    scores = exported(tiny_trace, "esft-scores", tmp_path / "a.json")
    assert scores["token_scores"]["0"] == {"0": 5 / 16, "1": 0.5, "2": 3 / 16, "3": 0}
    gate = scores["gate_scores"]["0"]
    assert gate["0"] == pytest.approx(5 * 0.75 / 8)
    assert sum(gate.values()) == pytest.approx(1)


def test_eplb_takes_an_array_where_the_file_is_one(tmp_path: Path, tiny_trace: Path) -> None:
    export(tiny_trace, "eplb", tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").tolist() == [[5, 8, 3, 0], [4, 4, 4, 4]]


def test_an_expert_map_is_of_devices(tmp_path: Path, tiny_trace: Path) -> None:
    value = exported(tiny_trace, "vllm-ascend", tmp_path / "a.json", "--devices", "4")
    assert value["layer_list"][1]["device_list"][3] == {"device_id": 3, "device_expert": [3]}


@pytest.mark.parametrize(("form", "files"), [("parquet", 15), ("jsonl", 15)])
def test_tables_fill_a_folder(tmp_path: Path, tiny_trace: Path, form: str, files: int) -> None:
    out = tmp_path / "below" / "tables"
    printed, _ = export(tiny_trace, form, out, "--json")
    assert len(list(out.iterdir())) == files
    assert json.loads(printed)["as"] == form


def ids_only_trace(path: Path) -> Path:
    batch = RoutingBatch.of(
        doc_id_T=np.zeros(2, int),
        position_T=np.arange(2),
        expert_ids_TLK=np.array([[[0, 1]], [[0, 3]]]),
        documents=(Document(doc_id=0, text=""),),
    )
    return write(path, batch, of=description(layers=1, experts=4))


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        ("esft", ["--score", "gate"], "weights of the trace are unknown, .*; give --score token"),
        (
            "llmcompressor",
            ["--keep", "1", "--by", "weight"],
            "trace are unknown, .*; give --by load",
        ),
        ("llmcompressor", [], "give --keep"),
        ("vllm-ascend", [], "give --devices"),
        ("olmoe", [], "does not name all of its tokens"),
        ("sglan", [], "there is no export 'sglan'; give one of sglang, sglang-counts, "),
    ],
)
def test_what_is_missing_for_an_export_is_said(
    tmp_path: Path, form: str, options: list[str], said: str
) -> None:
    trace = ids_only_trace(tmp_path / "a.duckdb")
    with pytest.raises(ValueError, match=said) as caught:
        export(trace, form, tmp_path / out_name(form), *options)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"a.duckdb"}


def test_scores_without_weights_are_those_of_tokens(tmp_path: Path) -> None:
    trace = ids_only_trace(tmp_path / "a.duckdb")
    _, said = export(trace, "esft-scores", tmp_path / "a.json")
    assert said.startswith("without gate_scores: the weights of the trace are unknown")
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["token_scores"]


def test_counts_are_enough_for_all_but_tokens(tmp_path: Path) -> None:
    trace = counted_trace(tmp_path / "a.duckdb", weighted=True)
    options = ("--keep", "1", "--devices", "2")
    for form in (one for one in EXPORTS if one.name != "olmoe"):
        export(trace, form.name, tmp_path / out_name(form.name), *options)
    scores = json.loads((tmp_path / "esft-scores.json").read_text())
    assert scores["gate_scores"]["0"] == {"0": 0.25, "1": 0, "2": 0.1875, "3": 0.0625}  # of 4
    with pytest.raises(ValueError, match="the trace holds no choices of single tokens"):
        export(trace, "olmoe", tmp_path / "olmoe.jsonl")


def test_layers_of_different_sizes_are_selected_from(tmp_path: Path) -> None:
    trace = tmp_path / "a.duckdb"
    write_uneven_trace(trace, documents=3, balanced=True)
    value = exported(trace, "esft", tmp_path / "a.json", "--top-p", "0.5")
    assert value["experts"] == {"0": [0, 1], "1": [0, 1, 2, 3], "2": [0, 1, 2]}


def test_an_empty_trace_has_nothing_to_say(tmp_path: Path, empty_trace: Path) -> None:
    for form in ("sglang-counts", "eplb", "esft", "esft-scores", "olmoe"):
        with pytest.raises(ValueError, match="holds no choices"):
            export(empty_trace, form, tmp_path / out_name(form))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path, tiny_trace: Path) -> None:
    for form in ("eplb", "parquet"):
        out = tmp_path / out_name(form)
        out.write_text("mine")
        with pytest.raises(ValueError, match="exists"):
            export(tiny_trace, form, out)
        assert out.read_text() == "mine"


def test_a_name_that_a_reader_does_not_take_is_refused(tmp_path: Path, tiny_trace: Path) -> None:
    with pytest.raises(ValueError, match=r"a.txt does not end in .json or .npy, as an export as"):
        export(tiny_trace, "eplb", tmp_path / "a.txt")


def test_an_error_is_one_line_and_its_code_2(tmp_path: Path) -> None:
    code = "from app.cli import main; main()"
    command = [sys.executable, "-c", code, "export", str(tmp_path / "none.duckdb"), "--as", "eplb"]
    ended = subprocess.run(
        [*command, "--out", "a.json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert re.fullmatch(r"error: there is no trace .*none.duckdb\n", ended.stderr)


def test_a_command_that_ends_well_says_nothing_else(tmp_path: Path, tiny_trace: Path) -> None:
    code = "from app.cli import main; main()"
    command = [sys.executable, "-c", code, "export", str(tiny_trace), "--as", "parquet"]
    out = ["--out", str(tmp_path / "a")]
    ended = subprocess.run([*command, *out], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert "rows in 14 tables, and manifest.json" in ended.stderr


def test_the_help_names_every_export() -> None:
    assert FORMS.split(", ") == [one.name for one in EXPORTS]


def test_a_button_gives_the_bytes_of_the_file(tiny_trace: Path) -> None:
    with open_trace(tiny_trace) as con:
        made, notes = content(named("eplb"), Subject(con, Settings()))
    assert json.loads(made) == [[5, 8, 3, 0], [4, 4, 4, 4]]
    assert notes == []
