import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from typer.testing import CliRunner

from analysis import document_rows, layout, projection, queries, routed_features
from analysis.agreement import agreement
from app.commands.project import project
from app.sidecars import MAPS
from data.connection import TraceError
from data.sidecar import Sidecar, read_sidecar
from data.store import TraceStore
from tests.analysis.points import two_kinds
from tests.routing_batches import description, random_document
from tests.sidecars import info_of
from tests.traces import seen


def test_agreement_of_the_same_partition_is_one() -> None:
    found = agreement(["a", "a", "b", "b"] * 5, [7, 7, 3, 3] * 5, range(20), seed=0)
    assert (found.nmi, found.ari, found.purity) == pytest.approx((1, 1, 1))
    assert found.shuffled_nmi < 0.2
    assert abs(found.shuffled_ari) < 0.1
    assert found.shuffled_purity < 0.75


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), clusters=st.integers(1, 6), groups=st.integers(2, 12))
def test_agreement_is_that_of_scikit_learn(seed: int, clusters: int, groups: int) -> None:
    """NMI and ARI are computed from sums over groups, and equal those over points."""
    rng = np.random.default_rng(seed)
    group_P = np.concatenate([np.arange(groups), rng.integers(0, groups, 100)])
    label_P = (np.arange(groups) % 3)[group_P]
    cluster_P = rng.integers(-1, clusters, len(group_P))
    found = agreement(label_P, cluster_P, group_P, seed=0)
    assert found.points == len(group_P)
    assert found.nmi == pytest.approx(normalized_mutual_info_score(label_P, cluster_P), abs=1e-9)
    assert found.ari == pytest.approx(adjusted_rand_score(label_P, cluster_P), abs=1e-9)


def test_purity_is_the_share_of_each_clusters_majority() -> None:
    found = agreement(["a", "a", "b", "b"], [0, 0, 0, -1], range(4), seed=0)
    assert found.purity == 0.75  # 2 of 3, and the one that is noise


def test_agreement_is_the_same_for_the_same_seed() -> None:
    labels, clusters = ["a", "b"] * 10, [0, 0, 1, 1, 2] * 4
    first, second = (agreement(labels, clusters, range(20), seed=3) for _ in range(2))
    assert first == second


def test_agreement_with_one_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        agreement(["a", "a"], [0, 1], [0, 1], seed=0)


def test_labels_are_shuffled_over_groups_and_not_over_points() -> None:
    """Six groups of 50 points, each a cluster of its own: whatever domains they get, they agree."""
    groups = np.repeat(range(6), 50)
    labels = np.array(["a", "b"])[groups % 2]
    over_groups = agreement(labels, groups, groups, seed=0)
    assert over_groups.purity == over_groups.shuffled_purity == 1.0
    assert over_groups.nmi == pytest.approx(over_groups.shuffled_nmi)
    over_points = agreement(labels, groups, range(300), seed=0)
    assert over_points.shuffled_purity < 0.6
    assert over_points.shuffled_nmi < 0.02


def test_half_of_the_groups_of_every_domain_give_labels() -> None:
    documents = pd.DataFrame(
        {
            "doc_id": range(12),
            "domain": ["math"] * 8 + ["code"] * 4,
            "unit": [0, 0, 2, 2, 4, 4, 6, 6, 8, 9, 10, 11],
            "tokens": 5,
        }
    )
    half = projection._labelling_half(documents, seed=0)
    assert half is not None
    chosen = documents[documents.doc_id.isin(half)]
    assert chosen.groupby("domain").unit.nunique().to_dict() == {"math": 2, "code": 2}
    assert len(chosen) == 6  # groups stay whole
    assert projection._labelling_half(documents[:9], seed=0) is None  # code has one group


def test_the_landmarks_are_as_many_tokens_of_every_domain() -> None:
    tokens = pd.DataFrame({"doc_id": range(100), "domain": ["math"] * 80 + ["code"] * 20})
    chosen = tokens[projection._stratified(tokens, 60, seed=0)]
    assert chosen.domain.value_counts().to_dict() == {"math": 30, "code": 20}  # all it has
    assert projection._stratified(tokens, 100, seed=0).all()


def test_of_too_many_tokens_whole_texts_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = pd.DataFrame({"doc_id": range(10), "tokens": 100})
    assert projection._texts_to_map(documents, seed=0) is None
    monkeypatch.setattr(projection, "MOST_TOKENS", 350)
    texts = projection._texts_to_map(documents, seed=0)
    assert texts is not None
    assert len(set(texts)) == 3
    monkeypatch.setattr(projection, "MOST_TOKENS", 50)
    assert len(projection._texts_to_map(documents, seed=0) or []) == 1


def test_all_tokens_get_the_place_that_the_svd_would_give_them(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tokens: four landmarks, and the others read in parts of one token each."""
    info = queries.trace_info(tiny)
    whole = projection.project_tokens(tiny, info, seed=0)
    monkeypatch.setattr(projection, "LANDMARKS", 4)
    monkeypatch.setattr(routed_features, "DECISIONS_AT_ONCE", 1)
    monkeypatch.setattr(document_rows, "LISTS_AT_ONCE", 1)  # a batch ends within a token
    some = projection.project_tokens(tiny, info, seed=0)
    told = list[int]()
    every = projection.with_all_tokens(tiny, info, some, tell=told.append)
    places = pd.concat([every.frame, every.rest])[["doc_id", "position"]]
    assert sorted(map(tuple, places.to_numpy())) == sorted(
        map(tuple, whole.frame[["doc_id", "position"]].to_numpy())
    )
    assert told == list(range(1, len(every.rest) + 1))
    order = pd.MultiIndex.from_frame(places).get_indexer(
        pd.MultiIndex.from_frame(whole.frame[["doc_id", "position"]])
    )
    choices = queries.token_choices(tiny, whole.frame)
    features_PF = routed_features.token_features(choices, choices["point"], 8, info)
    expected_PS = features_PF @ every.components_SF.T
    assert every.reduced_PS[order] == pytest.approx(expected_PS, abs=1e-6)
    assert every.parameters["points"] == 8


def test_prompts_and_experts_beyond_the_landmarks_get_a_place_too(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = queries.trace_info(tiny)
    monkeypatch.setattr(projection, "LANDMARKS", 3)
    monkeypatch.setattr(projection, "FITTED_DOCUMENTS", 2)
    prompts = projection.project_prompts(tiny, info, seed=0)
    assert len(prompts.reduced_PS) == len(prompts.frame) + len(prompts.rest) == 3
    experts = projection.project_experts(tiny, info, seed=0)
    assert len(experts.reduced_PS) == 7
    assert len(experts.frame) == 3


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ids_only=st.booleans())
def test_features_are_root_shares_whatever_the_order_of_choices(seed: int, ids_only: bool) -> None:
    rng = np.random.default_rng(seed)
    points, layers, experts = 5, 3, 4
    kept_PLE = rng.random((points, layers, experts)) < 0.5  # how many are chosen varies
    point, layer_id, expert_id = np.nonzero(kept_PLE)
    weight = np.full(len(point), np.nan) if ids_only else rng.random(len(point)) + 0.1
    order = rng.permutation(len(point))
    rows: dict[str, np.ndarray] = {
        "layer_id": layer_id,
        "expert_id": expert_id,
        "weight": weight.astype(np.float32),
    }
    shuffled = {name: column[order] for name, column in rows.items()}
    info = cast(queries.TraceInfo, SimpleNamespace(num_layers=layers, num_experts=experts))
    features = routed_features.token_features(shuffled, point[order], points, info).toarray()
    weight_PLE = np.zeros(kept_PLE.shape)
    weight_PLE[kept_PLE] = 1.0 if ids_only else weight
    total_PL1 = weight_PLE.sum(-1, keepdims=True)
    share_PLE = weight_PLE / np.where(total_PL1 > 0, total_PL1, 1)
    assert features == pytest.approx(np.sqrt(share_PLE).reshape(points, -1), abs=1e-6)


def test_tokens_that_choose_alike_lie_together(tiny: duckdb.DuckDBPyConnection) -> None:
    points = projection.project_tokens(tiny, queries.trace_info(tiny), seed=0)
    assert points.frame.text.tolist() == ["1", " +", " 1", "x", " =", " 1", "hi", " x"]
    assert points.frame.expert_1.tolist() == [0, 0, 0, 2, 2, 2, 0, 1]
    near = np.linalg.norm(points.reduced_PS[0] - points.reduced_PS[1])
    far = np.linalg.norm(points.reduced_PS[0] - points.reduced_PS[3])
    assert near == pytest.approx(0, abs=1e-5)
    assert far > 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SET weights = [1]", "weights are not as many as choices; copy it again"),
        ("SET layer_id = 2", "names layer 2 of 2; copy it again"),
    ],
)
def test_lists_that_nobody_checked_are_refused(
    statement: str, message: str, writable: duckdb.DuckDBPyConnection
) -> None:
    info, tokens = queries.trace_info(writable), queries.tokens_by_domain(writable)
    writable.execute(f"UPDATE file.decision {statement} WHERE doc_id = 2 AND layer_id = 1")
    parts = routed_features.reduced_parts(writable, tokens, info, np.ones((8, 2), np.float32))
    with pytest.raises(TraceError, match=message):
        list(parts)


@pytest.mark.parametrize(
    ("statement", "message"),
    [("SET expert_ids = [4, 0]", "names expert 4 of 4"), ("SET layer_id = 2", "layer 2 of 2")],
)
def test_choices_that_nobody_checked_are_refused(
    statement: str, message: str, writable: duckdb.DuckDBPyConnection
) -> None:
    writable.execute(f"UPDATE file.decision {statement} WHERE layer_id = 1")
    with pytest.raises(TraceError, match=message):
        projection.project_tokens(writable, queries.trace_info(writable), seed=0)


def test_what_lies_far_between_tokens_is_not_read(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[tuple[int, int], tuple[int, int]]]()
    choice_lists = document_rows.choice_lists

    def counted(
        con: duckdb.DuckDBPyConnection, first: tuple[int, int], last: tuple[int, int]
    ) -> Iterator[pa.RecordBatch]:
        asked.append((first, last))
        return choice_lists(con, first, last)

    info, tokens = queries.trace_info(tiny), queries.tokens_by_domain(tiny, doc_ids=[0, 2])
    whole = list(routed_features.reduced_parts(tiny, tokens, info, np.eye(8, dtype=np.float32)))
    monkeypatch.setattr(document_rows, "choice_lists", counted)
    monkeypatch.setattr(routed_features, "FAR", 1)
    parts = list(routed_features.reduced_parts(tiny, tokens, info, np.eye(8, dtype=np.float32)))
    assert sorted(asked) == [((0, 0), (0, 2)), ((2, 0), (2, 1))]
    assert [here for here, _ in parts] == [slice(0, 3), slice(3, 5)]
    assert (np.concatenate([part_PS for _, part_PS in parts]) == whole[0][1]).all()


def test_prompts_and_experts(tiny: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(tiny)
    prompts = projection.project_prompts(tiny, info, seed=0)
    assert prompts.frame.doc_id.tolist() == [0, 1, 2]
    experts = projection.project_experts(tiny, info, seed=0)
    assert len(experts.frame) == 7  # of eight: expert 3 of layer 0 is dead
    assert experts.parameters["points_in_trace"] == 8
    assert set(experts.frame.domain) == {"too little data"}  # eight tokens
    assert experts.groups_P is None  # a domain has one document: no halves


def test_experts_carry_the_domain_they_prefer(tiny_trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "hundredfold.duckdb"
    shutil.copy(tiny_trace, path)
    with seen(path) as con:
        con.execute("UPDATE file.document_load SET tokens = 100 * tokens")
        experts = projection.project_experts(con, queries.trace_info(con), seed=0).frame
    # layer 0: expert 0 serves math and unlabelled 1.6 times as often, expert 1 everything
    assert experts.domain.tolist() == ["none", "none", "code", "math", "math", "code", "code"]


def test_experts_have_their_place_and_their_domain_from_different_documents(
    tiny_trace: Path, tmp_path: Path
) -> None:
    path = tmp_path / "twice.duckdb"
    shutil.copy(tiny_trace, path)
    with seen(path) as con:
        con.execute("UPDATE file.document_load SET tokens = 100 * tokens")
        # documents 3 to 5 are 0 to 2 again, with the other experts of layer 0
        con.execute(
            "INSERT INTO file.document SELECT * REPLACE (doc_id + 3 AS doc_id) FROM document"
        )
        con.execute(
            "INSERT INTO file.document_load SELECT * REPLACE (doc_id + 3 AS doc_id, "
            "(CASE layer_id WHEN 0 THEN 3 - expert_id ELSE expert_id END) AS expert_id) "
            "FROM document_load"
        )
        points = projection.project_experts(con, queries.trace_info(con), seed=0)
        documents, load = queries.documents(con), queries.document_load(con)
    labelling = projection._labelling_half(documents, seed=0)
    assert labelling is not None
    assert len(labelling) == 3
    chosen = load[~load.doc_id.isin(labelling)].groupby(["layer_id", "expert_id"]).size()
    assert points.frame[["layer_id", "expert_id"]].apply(tuple, axis=1).tolist() == [*chosen.index]
    of_labels = load[load.doc_id.isin(labelling) & (load.layer_id == 0)]
    unseen = ~points.frame.expert_id.isin(of_labels.expert_id) & (points.frame.layer_id == 0)
    assert set(points.frame.domain[unseen]) <= {"too little data"}
    assert points.groups_P is not None


@pytest.mark.parametrize("what", ["tokens", "prompts", "experts"])
def test_an_empty_trace_says_what_to_do(empty: duckdb.DuckDBPyConnection, what: str) -> None:
    with pytest.raises(ValueError, match="capture some first"):
        getattr(projection, f"project_{what}")(empty, queries.trace_info(empty), seed=0)


def test_too_few_points_keep_the_svd(tiny: duckdb.DuckDBPyConnection) -> None:
    points = projection.project_prompts(tiny, queries.trace_info(tiny), seed=0)
    drawn = layout.umap_map(points)
    assert drawn.parameters["method"] == "svd"
    assert np.isfinite(drawn.frame[["x", "y"]]).all(axis=None)


def test_one_point_has_a_place() -> None:
    frame = pd.DataFrame({"domain": ["math"]})
    points = projection._points(
        frame, csr_matrix(np.ones((1, 4))), groups_P=None, seed=0, total=1, smallest_share=1
    )
    assert np.isfinite(layout.svd_map(points).frame[["x", "y"]]).all(axis=None)


def test_points_that_are_all_alike_keep_the_svd() -> None:
    frame = pd.DataFrame({"domain": ["math", "code"] * 10})
    points = projection._points(
        frame,
        csr_matrix(np.full((20, 8), 0.5)),
        groups_P=None,
        seed=0,
        total=20,
        smallest_share=1 / 10,
    )
    parameters = layout.umap_map(points).parameters
    assert parameters["method"] == "svd"
    variance = parameters["svd_explained_variance"]
    assert isinstance(variance, float)
    assert np.isfinite(variance)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_umap_finds_the_two_kinds_and_repeats_itself() -> None:
    first = layout.umap_map(two_kinds())
    parameters = first.parameters
    assert parameters["method"] == "umap"
    assert parameters["clusters"] == 2
    compared = parameters["agreement"]
    assert isinstance(compared, dict)
    assert compared["purity"] > 0.9
    assert compared["shuffled_purity"] < 0.75
    pd.testing.assert_frame_equal(first.frame, layout.umap_map(two_kinds()).frame)


def test_as_few_points_as_have_a_umap() -> None:
    """Not compiled: that takes a minute."""
    code = (
        "from analysis import layout; from tests.analysis.points import two_kinds; "
        "drawn = layout.umap_map(two_kinds(layout.MIN_POINTS)); "
        "print(drawn.parameters['n_neighbors'], drawn.frame[['x', 'y']].notna().all(axis=None))"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [str(layout.MIN_POINTS - 1), "True"]


def test_the_command_writes_three_maps_beside_the_trace(tiny_trace: Path, tmp_path: Path) -> None:
    trace = tmp_path / "mine.duckdb"
    shutil.copy(tiny_trace, trace)
    command = typer.Typer()
    command.command()(project)
    result = CliRunner().invoke(command, [str(trace), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tokens"]["points"] == 8
    assert "stage 1/4: reading 8 tokens" in result.stderr
    info = info_of(trace)
    for what, points in (("tokens", 8), ("prompts", 3), ("experts", 7)):
        sidecar = read_sidecar(trace, MAPS[what], of=info)
        assert isinstance(sidecar, Sidecar)
        assert len(sidecar.frame) == points
        assert sidecar.parameters["versions"]["umap-learn"]


def test_one_text_gives_all_experts_one_place(tmp_path: Path) -> None:
    with TraceStore.create(tmp_path / "one.duckdb", description(layers=2, experts=8)) as store:
        store.write(random_document(0, tokens=40))
    with seen(tmp_path / "one.duckdb") as con:
        points = projection.project_experts(con, queries.trace_info(con), seed=0)
    drawn = layout.umap_map(points)
    assert drawn.parameters["method"] == "svd"  # too much alike for a map of neighbourhoods
    assert len(drawn.frame) == 16
    assert np.ptp(drawn.frame[["x", "y"]].to_numpy(), axis=0).tolist() == [0, 0]
