import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis import first_look, projection, queries, routed_features


@pytest.mark.parametrize(("what", "points"), [("tokens", 8), ("prompts", 3), ("experts", 7)])
def test_of_a_small_trace_all_points_are_looked_at(
    what: str, points: int, tiny: duckdb.DuckDBPyConnection
) -> None:
    info = queries.trace_info(tiny)
    look = first_look.first_look(tiny, info, what, seed=0)
    assert len(look.frame) == look.parameters["points"] == points
    assert look.parameters["method"] == "svd"
    assert look.parameters["texts"] == 3
    assert np.isfinite(look.frame[["x", "y"]]).all(axis=None)


def test_of_a_large_trace_some_texts_begin(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_look, "TOKENS", 6)
    look = first_look.first_look(tiny, queries.trace_info(tiny), "tokens", seed=0)
    places = look.frame[["doc_id", "position"]].to_numpy().tolist()
    assert places == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]  # 6 of 3 texts
    whole = projection.project_tokens(tiny, queries.trace_info(tiny), seed=0).frame
    known = whole.set_index(["doc_id", "position"]).loc[list(map(tuple, places))]
    assert look.frame.expert_1.tolist() == known.expert_1.tolist()
    assert look.frame.unit.tolist() == known.unit.tolist()


def test_of_many_texts_as_many_of_every_domain_that_have_tokens() -> None:
    documents = pd.DataFrame(
        {"doc_id": range(6), "domain": ["math"] * 4 + ["code"] * 2, "tokens": [5, 5, 5, 0, 0, 5]}
    )
    assert projection.with_tokens(documents, None, 0).doc_id.tolist() == [0, 1, 2, 5]
    some = projection.with_tokens(documents, 2, 0)
    assert some.domain.tolist() == ["math", "code"]


def test_texts_that_lie_apart_are_read_apart(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routed_features, "NEAR", 1)
    parts = routed_features.document_parts(tiny, np.array([0, 2]), queries.trace_info(tiny))
    assert [ids.tolist() for ids, _ in parts] == [[0], [2]]
