"""What counts as a later trace of the same model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import queries
from app.studies.later import require_other_texts
from data.store import open_trace
from tests.traces import write_choices


def test_the_trace_itself_and_another_model_are_refused(tmp_path: Path) -> None:
    infos = []
    for name in ("earlier", "later"):
        path = tmp_path / f"{name}.duckdb"
        write_choices(path, np.zeros((2, 1, 1), int), np.arange(2))
        with open_trace(path) as con:
            infos.append(replace(queries.trace_info(con), name=name))
    earlier, later = infos
    require_other_texts(earlier, later)
    require_other_texts(earlier, replace(later, model_sha256=""))  # it does not say
    with pytest.raises(ValueError, match="earlier is the trace itself; give one of later texts"):
        require_other_texts(earlier, earlier)
    with pytest.raises(ValueError, match=r"later of toy \(ffffffff\): their experts are not the"):
        require_other_texts(earlier, replace(later, model_sha256="f" * 64))
