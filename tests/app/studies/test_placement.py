"""Maps made of one half of the texts and measured on the other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import queries
from analysis.placement.maps import in_order
from analysis.placement.sample import PlacedTexts, read_texts
from analysis.placement.table import BUSIEST, GPUS
from app.studies import placement, placement_files
from app.studies.placement import BEFORE, TODAY, YESTERDAY, Settings
from data.exports.expert_map import expert_map
from data.store import open_trace
from tests.app.sparse_traces import counted
from tests.placed import write_paired_trace
from tests.varying import write_varying_trace


def read(path: Path) -> PlacedTexts:
    with open_trace(path) as con:
        return read_texts(con, queries.trace_info(con))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> PlacedTexts:
    path = tmp_path_factory.mktemp("paired") / "paired.duckdb"
    write_paired_trace(path, decoded=4)
    return read(path)


def test_a_plan_is_measured_on_texts_that_did_not_make_it(texts: PlacedTexts) -> None:
    of = placement.planned(texts, Settings(gpus=4))
    judged = of.judges.loads.tokens_NLE
    assert (judged == texts.loads[None].tokens_NLE[texts.judges_N]).all()
    assert of.before.experts_LP.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]] * 2
    before, after = (of.compared.row(plan, BUSIEST) for plan in (BEFORE, "eplb"))
    assert after.change_high < 0
    assert before.estimate > after.estimate


def test_coactivation_puts_both_experts_of_a_token_on_one_gpu(tmp_path: Path) -> None:
    write_paired_trace(tmp_path / "even.duckdb", even=True)
    of = placement.planned(read(tmp_path / "even.duckdb"), Settings(gpus=2, policy="coactivation"))
    row = of.compared.row("coactivation", GPUS)
    assert row.estimate == 1
    assert of.compared.row(BEFORE, GPUS).estimate == 2  # 0 to 3 on one GPU, 4 to 7 on the other


def test_a_phase_has_a_plan_of_its_own(texts: PlacedTexts) -> None:
    of = placement.planned(texts, Settings(gpus=4, phase="decode"))
    assert set(np.flatnonzero(of.judges.loads.tokens_NLE.sum((0, 1))).tolist()) == {3, 7}
    assert of.compared.row("eplb", BUSIEST).estimate == pytest.approx(2)  # two of four GPUs work
    assert of.judges.loads.size_N is not None
    assert set(of.judges.loads.size_N.tolist()) == {4}


def test_a_plan_is_shown_on_every_phase_and_domain(texts: PlacedTexts) -> None:
    of = placement.planned(texts, Settings(gpus=4))
    table = placement.holds(texts, of)
    assert table.texts.unique().tolist() == ["all texts", "prefill", "decode", "a", "b"]
    decoded = table[(table.texts == "decode") & (table.measure == BUSIEST)]
    assert set(decoded.plan) == {BEFORE, "eplb"}


def test_drift_by_time_uses_three_parts_of_the_texts(texts: PlacedTexts) -> None:
    of = placement.planned(texts, Settings(gpus=4))
    compared = placement.drift(texts, of)
    assert compared.table.plan.unique().tolist() == [BEFORE, YESTERDAY, TODAY]
    assert compared.table.n_groups.iloc[0] == 12  # a half of the later half of 48
    row = compared.row(TODAY, BUSIEST)
    assert row.change == pytest.approx(0, abs=0.05)  # nothing drifts here


def test_drift_by_file_needs_the_same_model(texts: PlacedTexts, tmp_path: Path) -> None:
    of = placement.planned(texts, Settings(gpus=4))
    write_paired_trace(tmp_path / "later.duckdb", documents=24)
    later = placement.drift(texts, of, today=read(tmp_path / "later.duckdb"))
    assert later.table.n_groups.iloc[0] == 12
    write_varying_trace(tmp_path / "other.duckdb", documents=3)
    with pytest.raises(
        ValueError, match=r"of 2 layers of 8 experts, .* of 3 of 64: a map fits one"
    ):
        placement.drift(texts, of, today=read(tmp_path / "other.duckdb"))


def test_a_map_in_use_is_what_the_plan_is_compared_with(texts: PlacedTexts, tmp_path: Path) -> None:
    info, settings = texts.info, Settings(gpus=4)
    of = placement.planned(texts, settings)
    path = tmp_path / "map.json"
    path.write_bytes(placement_files.map_file(of, info, "sglang"))
    current = placement_files.read_current(path, info, settings)
    again = placement.planned(texts, settings, current=current)
    assert again.compared.row("eplb", BUSIEST).change == pytest.approx(0, abs=1e-6)
    assert again.by_layer().moved_experts.tolist() == [0, 0]
    assert "in-order" in again.plans


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        ({"physical_to_logical_map": [[0, 1, 2, 3]] * 2}, "has 4 places in a layer, the trace has"),
        ({"physical_to_logical_map": [[0] * 8] * 2}, "expert 1 of layer 0 has no place"),
        (
            {"physical_to_logical_map": [[*range(8), 0]] * 2},
            "8 experts and 1 redundant ones do not",
        ),
    ],
)
def test_a_map_that_does_not_fit_is_refused(
    texts: PlacedTexts, tmp_path: Path, map_: object, message: str
) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(map_))
    with pytest.raises(ValueError, match=message):
        placement_files.read_current(path, texts.info, Settings(gpus=4))


def test_a_map_of_other_devices_is_refused(texts: PlacedTexts, tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    experts_LP = in_order(Settings(gpus=2).cluster(texts.info), 2).experts_LP
    path.write_text(json.dumps(expert_map(texts.info.layers, 2, experts_LP)))
    with pytest.raises(ValueError, match=r"map.json is of 2 devices, and 4 GPUs were given"):
        placement_files.read_current(path, texts.info, Settings(gpus=4))


def test_a_phase_that_is_not_told_apart_is_refused(tmp_path: Path) -> None:
    write_paired_trace(tmp_path / "prefill.duckdb", documents=4)
    with pytest.raises(ValueError, match="decode cannot be told apart"):
        placement.planned(read(tmp_path / "prefill.duckdb"), Settings(gpus=4, phase="decode"))


@pytest.mark.parametrize("documents", [1, 3])
def test_one_group_makes_a_map_and_measures_it_itself(tmp_path: Path, documents: int) -> None:
    """Of a trace, or of domain b."""
    write_paired_trace(tmp_path / "one.duckdb", documents=documents)
    texts = read(tmp_path / "one.duckdb")
    of = placement.planned(texts, Settings(gpus=4, domain="b" if documents > 1 else None))
    assert not of.judges.made_none
    assert of.judges.loads.size_N is not None
    assert of.judges.loads.size_N.tolist() == [20]
    assert of.compared.row("eplb", BUSIEST).change < 0
    assert "no other texts" in of.compared.row("eplb", BUSIEST).note
    assert len(placement.holds(texts, of))
    with pytest.raises(ValueError, match=r"earlier texts|no choice of b"):
        placement.drift(texts, of)


def test_counts_of_one_group_make_a_map(tmp_path: Path) -> None:
    counted(tmp_path / "counts.duckdb", top_k=2, domains=("math",))
    of = placement.planned(read(tmp_path / "counts.duckdb"), Settings(gpus=4))
    assert not of.judges.made_none
    assert of.compared.row("eplb", BUSIEST).estimate >= 1


def test_a_later_trace_must_have_the_domain(texts: PlacedTexts) -> None:
    of = placement.planned(texts, Settings(gpus=4, domain="b"))
    later = replace(texts, info=replace(texts.info, trace_id="later", name="later", domains=("a",)))
    with pytest.raises(ValueError, match="later has no domain 'b'; it has a"):
        placement.drift(texts, of, today=later)


def test_where_no_choice_was_read_there_is_no_traffic(texts: PlacedTexts) -> None:
    assert texts.choices is not None
    nothing = replace(texts, choices=texts.choices.of(np.zeros(48, dtype=bool), None))
    of = placement.planned(nothing, Settings(gpus=4))
    assert of.judges.choices is None
    assert "coactivation" not in of.plans
    assert not of.compared.has(GPUS)
    with pytest.raises(ValueError, match="no single choice is known; choose another policy"):
        placement.planned(nothing, Settings(gpus=4, policy="coactivation"))


@pytest.mark.parametrize(("gpus", "redundant"), [(2**14, 2**14 - 8), (1, 2**12)])
def test_more_than_memory_holds_is_refused(texts: PlacedTexts, gpus: int, redundant: int) -> None:
    with pytest.raises(ValueError, match=r"places on .* GPUs are more than fits into memory"):
        Settings(gpus=gpus, redundant=redundant).cluster(texts.info)


def test_of_a_trace_of_some_layers_there_is_no_map(texts: PlacedTexts, tmp_path: Path) -> None:
    """But the map in use may be that of the whole model."""
    kept: dict[str, object] = {"capture": {"kept": {"layers": {"kept": [1, 3], "of": 4}}}}
    info, settings = replace(texts.info, config=kept), Settings(gpus=4)
    of = placement.planned(texts, settings)
    with pytest.raises(ValueError, match="holds layers 1 and 3 alone, and a map is of all layers"):
        placement_files.map_file(of, info, "sglang")
    rows = [[7 - expert if layer % 2 else expert for expert in range(8)] for layer in range(4)]
    value = expert_map([texts.info.layers[0]] * 4, 4, np.array(rows))
    (tmp_path / "whole.json").write_text(json.dumps(value))
    used = placement_files.read_current(tmp_path / "whole.json", info, settings)
    assert used.experts_LP.tolist() == [[7, 6, 5, 4, 3, 2, 1, 0]] * 2


@pytest.mark.parametrize(("experts", "gpus"), [(64, 8), (60, 6), (7, 7), (11, 1), (1, 1)])
def test_usual_gpus_divide_the_experts(experts: int, gpus: int) -> None:
    assert placement.usual_gpus(experts) == gpus


def test_bytes_of_a_move_are_those_of_its_experts(texts: PlacedTexts) -> None:
    table = placement.planned(texts, Settings(gpus=4)).by_layer(expert_bytes=10)
    assert (table.bytes == 10 * table.moved_experts).all()
