"""Entropies that can be added in the head."""

import duckdb
import numpy as np
import pytest

from analysis import arrays, queries
from analysis.domain_counts import ALL_LAYERS
from analysis.gate_entropy import gate_entropy_table
from analysis.groups import NOT_ENOUGH


def test_the_mean_is_of_decisions_as_a_share_of_the_most_there_can_be() -> None:
    entropy_NL = np.array([[2 * np.log(4), 0.0], [0.0, 2 * np.log(2)]])
    decisions_NL = np.array([[2, 2], [2, 2]])
    table = gate_entropy_table(
        entropy_NL, decisions_NL, np.array([0, 0]), experts_L=np.array([4, 2])
    )
    assert table.layer_id.tolist() == [ALL_LAYERS, 0, 1]
    assert table.estimate.tolist() == pytest.approx([0.5, 0.5, 0.5])  # 2 of 4 decisions undecided
    assert table.null.tolist() == [1.0] * 3
    assert table.low.isna().all()
    assert table.note.str.startswith(NOT_ENOUGH).all()


def test_the_interval_holds_the_truth_of_groups_that_differ() -> None:
    rng = np.random.default_rng(0)
    share_N = 0.6 + rng.normal(0, 0.05, 60)
    decisions_N = rng.integers(50, 100, 60)
    entropy_NL = (share_N * np.log(8) * decisions_N)[:, None]
    row = gate_entropy_table(
        entropy_NL, decisions_N[:, None], np.repeat([0, 1, 2], 20), experts_L=np.array([8])
    ).iloc[1]
    assert 0.57 < row.low < 0.6 < row.high < 0.63
    assert (row.n_groups, row.note) == (60, "")


def test_a_trace_without_entropies_has_a_reason_instead() -> None:
    nothing_NL = np.zeros((3, 1))
    row = gate_entropy_table(nothing_NL, nothing_NL, np.zeros(3, int), experts_L=np.array([4]))
    assert row.estimate.isna().all()
    assert set(row.note) == {"the entropy of this gate is unknown"}


def test_groups_add_up_the_entropies_of_their_texts(writable: duckdb.DuckDBPyConnection) -> None:
    writable.execute("UPDATE file.document_gate SET entropy = 0.5 * entropies")
    writable.execute(
        "UPDATE file.document_gate SET entropy = 0, entropies = 0 WHERE doc_id = 1 AND layer_id = 0"
    )
    info = queries.trace_info(writable)
    entropy_NL, decisions_NL, domain_id_N = arrays.group_gate_array(writable, info)
    assert entropy_NL.tolist() == [[1.5, 1.5], [0, 1.5], [1, 1]]  # of 3, 3 and 2 tokens
    assert decisions_NL.tolist() == [[3, 3], [0, 3], [2, 2]]
    assert domain_id_N.tolist() == [0, 1, 2]
