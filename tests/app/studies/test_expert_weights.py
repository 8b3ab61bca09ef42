"""Experts of two models, matched by weights: which models, which layers, which experts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.matching.experts import UNMATCHED
from app.studies.expert_weights import MatchedModels, TracedModel, match_models
from app.studies.matched import matched_traces
from model.config import CLOSED
from tests.matched import drawn_texts, opened, write_texts
from tests.twins import write_model, write_twin

SAME_LE = np.tile(np.arange(8), (2, 1))
OTHER_LE = np.array([[3, 1, 2, 0, 4, 5, 6, 7], [7, 0, 1, 2, 3, 4, 5, 6]])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("original"))


def traced(folder: Path, *candidates: Path, layers: int = 2, experts: int = 8) -> TracedModel:
    """A trace of the model in `folder`, looked for in the candidates, or there."""
    path = folder / "trace.duckdb"
    if not path.exists():
        write_texts(path, [], layers=layers, experts=experts, model=folder)
    return TracedModel(folder.name, opened(path)[1], candidates or (folder,))


def partners(found: MatchedModels) -> list[list[int]]:
    return [match.other_E.tolist() for match in found.matches]


def test_experts_under_other_numbers_are_found(original: Path, tmp_path: Path) -> None:
    twin = write_twin(tmp_path / "twin", original, OTHER_LE)
    found = match_models(traced(original), traced(twin))
    assert partners(found) == OTHER_LE.tolist()
    assert found.in_words(None) == (
        "By weights, 16 of 16 experts have a counterpart that chance does not reach, 6 of them "
        "under the same number."
    )
    assert found.match_table().other_expert_id.tolist() == OTHER_LE.ravel().tolist()


@pytest.mark.parametrize("absent", [1, CLOSED])  # merged into expert 1, or dropped
def test_of_a_pruned_model_the_experts_that_stand_correspond(
    original: Path, tmp_path: Path, absent: int
) -> None:
    pruned = write_twin(
        tmp_path / "pruned", original, SAME_LE, leaders=(0, 1, 2, absent, 4, 5, 6, absent)
    )
    expected = [[0, 1, 2, UNMATCHED, 4, 5, 6, UNMATCHED]] * 2
    assert partners(match_models(traced(original), traced(pruned))) == expected
    assert partners(match_models(traced(pruned), traced(original))) == expected
    assert partners(match_models(traced(pruned), traced(pruned))) == expected


def test_of_models_with_one_config_the_one_that_made_the_trace_is_read(
    original: Path, tmp_path: Path
) -> None:
    seed_1 = write_model(tmp_path / "seed_1", seed=1)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_text((original / "config.json").read_text())
    found = match_models(traced(original), traced(original, begun, seed_1, original))
    assert partners(found) == SAME_LE.tolist()
    said = r"by model [0-9a-f]{8}, .*: no weights in .*begun.*; .*seed_1 holds other weights"
    with pytest.raises(ValueError, match=said):
        match_models(traced(original), traced(original, begun, seed_1))


def test_a_trace_that_names_no_weights_is_taken_to_be_of_the_folder_given(
    original: Path, tmp_path: Path
) -> None:
    of = traced(original)
    imported = replace(of, info=replace(of.info, model_sha256=""))
    assert partners(match_models(imported, of)) == SAME_LE.tolist()
    wide = write_model(tmp_path / "wide", num_experts=9)
    with pytest.raises(ValueError, match=r"has 2 MoE layers of 8 experts, the model in .* 2 of 9"):
        match_models(replace(imported, folders=(wide,)), of)


def test_layers_that_a_trace_leaves_out_are_not_matched(original: Path) -> None:
    of = traced(original)
    config = {**of.info.config, "capture": {"kept": {"layers": {"kept": [1]}}}}
    last = replace(of.info, num_layers=1, layers=of.info.layers[1:], config=config)
    found = match_models(replace(of, info=last), replace(of, info=last))
    assert partners(found) == [list(range(8))]
    other = match_models(of, replace(of, info=last))
    assert [match.matched for match in other.matches] == [0, 8]


def test_experts_of_another_size_are_refused(original: Path, tmp_path: Path) -> None:
    wide = write_model(tmp_path / "wide", expert_dim=12)
    with pytest.raises(ValueError, match="8 neurons of 48 weights, one of the other model 12"):
        match_models(traced(original), traced(wide))


def test_two_experts_are_too_few_to_say(tmp_path: Path) -> None:
    few = write_model(tmp_path / "few", num_experts=2, top_k=1)
    model = traced(few, experts=2)
    said = match_models(model, model).in_words(None)
    assert said == "Layers have too few experts to say by weights which of them correspond."


def test_the_words_set_weights_beside_routing(original: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.duckdb"
    write_texts(path, drawn_texts(), layers=2)
    routed = matched_traces(opened(path), opened(path))
    found = match_models(traced(original), traced(original))
    assert found.in_words(routed).endswith(
        "Of 16 experts that are matched by routing too, 16 have the same counterpart both ways; by "
        "chance 2.0 would."
    )
    assert found.as_json(routed) == {
        "experts": 16,
        "matched": 16,
        "same_number": 16,
        "as_by_routing": {"both": 16, "same": 16, "chance": 2.0},
    }
