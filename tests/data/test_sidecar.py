from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data.sidecar import read_sidecar, sidecar_path, write_sidecar

FRAME = pd.DataFrame({"x": [0.5, 1.5], "text": ["a", "=b"], "cluster": [0, -1]})


def stored(trace: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    sidecar = read_sidecar(trace, "tokens")
    assert sidecar is not None
    return sidecar


def test_a_sidecar_comes_back_with_its_parameters(tmp_path: Path) -> None:
    trace = tmp_path / "demo.duckdb"
    path = write_sidecar(trace, "tokens", FRAME, {"seed": 0, "method": "svd"})
    assert path == tmp_path / "demo.tokens.parquet"
    frame, parameters = stored(trace)
    pd.testing.assert_frame_equal(frame, FRAME)
    assert parameters == {"seed": 0, "method": "svd"}


def test_a_sidecar_that_was_not_made_is_none(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "demo.duckdb", "tokens") is None


def test_a_second_write_replaces_the_first_and_leaves_no_partial_file(tmp_path: Path) -> None:
    trace = tmp_path / "demo.duckdb"
    write_sidecar(trace, "tokens", FRAME, {"method": "svd"})
    write_sidecar(trace, "tokens", FRAME.head(1), {"method": "umap"})
    frame, parameters = stored(trace)
    assert (len(frame), parameters["method"]) == (1, "umap")
    assert [path.name for path in tmp_path.iterdir()] == ["demo.tokens.parquet"]


@pytest.mark.parametrize("damage", ["text", "foreign"])
def test_a_damaged_or_foreign_sidecar_says_what_to_do(tmp_path: Path, damage: str) -> None:
    path = sidecar_path(tmp_path / "demo.duckdb", "tokens")
    if damage == "text":
        path.write_text("not parquet")
    else:
        FRAME.to_parquet(path)
    with pytest.raises(ValueError, match="routescope project"):
        read_sidecar(tmp_path / "demo.duckdb", "tokens")
