"""A trace of two layers of a larger model: tables call them as the model does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app import workspace
from app.trace import Trace, open_trace
from app.views.export import tables
from app.views.export.manifest import manifest
from app.views.shared import controls
from app.views.shared.layer_names import as_in_model
from data.routing import Document
from data.store import TraceStore
from tests.app.pages import page
from tests.routing_batches import batch_of, description

KEPT: dict[str, object] = {"capture": {"kept": {"layers": {"kept": [4, 9], "of": 12}}}}


@pytest.fixture
def kept(traces: Path) -> Trace:
    rng, path = np.random.default_rng(0), traces / "kept.duckdb"
    with TraceStore.create(path, replace(description(), config=KEPT)) as store:
        for doc_id in range(24):
            ids_TLK = rng.random((40, 2, 4)).argsort(-1)[..., :2]
            text = Document(
                doc_id=doc_id, text=f"text {doc_id}", domain=("math", "code")[doc_id % 2]
            )
            store.write(replace(batch_of([doc_id] * 40, ids_TLK), documents=(text,)))
    return open_trace(workspace.trace_file(path))


def test_a_row_of_all_layers_stays_one(kept: Trace) -> None:
    table = as_in_model(pd.DataFrame({"layer_id": [-1, 0, 1, 0]}), kept)
    assert table.layer_id.tolist() == [-1, 4, 9, 4]


def test_columns_of_a_layer_are_called_as_the_model_counts_it(kept: Trace) -> None:
    table = pd.DataFrame({"expert_0": [7], "expert_1": [8], "expert_id": [1]})
    assert list(as_in_model(table, kept)) == ["expert_4", "expert_9", "expert_id"]


def test_exported_tables_and_their_manifest_count_layers_as_the_model_does(kept: Trace) -> None:
    offered = tables.tables(kept)
    for name in ("layers", "load_by_layer", "expert_load", "expert_domain_lift", "gate_by_layer"):
        assert set(offered[name][1]().layer_id) <= {4, 9}, name
    assert manifest(kept, raw=False)["layer_id"] == "number of a MoE layer in the model, from 0"
    assert manifest(kept, raw=True)["layer_id"].endswith("over those stored, layers 4 and 9")


@pytest.mark.parametrize("name", ["overview", "specialization", "load_balance", "coactivation"])
def test_files_of_pages_count_layers_as_the_model_does(
    name: str, kept: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[pd.DataFrame] = []
    monkeypatch.setattr(controls, "download", lambda frame, **rest: found.append(frame))
    assert not page(name).exception
    of_layers = [frame for frame in found if "layer_id" in frame and len(frame)]
    assert of_layers
    assert all(set(frame.layer_id) <= {4, 9} for frame in of_layers)
