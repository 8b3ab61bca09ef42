"""The page Export: tables, and the zip with its manifest."""

import json
import zipfile
from pathlib import Path

import pytest

from app.jobs.worker import Progress
from app.views.export import tables
from tests.app.incomplete_traces import open_case

LIFT_CSV = (
    "layer_id,expert_id,domain,estimate,low,high,p,q,n_documents,n_groups,n_tokens,"
    "smallest_detectable,note"
)
METRIC_CSV = (
    "layer_id,metric,estimate,corrected,low,high,null,p,q,n_documents,n_groups,n_tokens,note"
)


@pytest.mark.slow
def test_the_zip_says_how_it_was_tested(incomplete_traces: Path, tmp_path: Path) -> None:
    trace = open_case("top_1", incomplete_traces)
    path = tables.build_zip(Progress(tmp_path), trace.path, raw=False, bom=False)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        heads = {name: archive.read(name).decode().splitlines()[0] for name in archive.namelist()}
    told = manifest["statistics"]
    assert manifest["formula_guard"] == "text that starts like a formula has a leading apostrophe"
    assert told["family_size"] == 2 * 8 * 2  # layers, experts, domains
    assert (told["seed"], told["sample"], told["resamples"]) == (0, "group", 1000)
    assert heads["expert_domain_lift.csv"].replace('"', "") == LIFT_CSV
    assert heads["specialists.csv"].replace('"', "") == f"{LIFT_CSV},verdict"
    assert heads["load_by_layer.csv"].replace('"', "") == METRIC_CSV
    assert heads["load_by_layer_and_domain.csv"].replace('"', "") == f"domain,{METRIC_CSV}"
    assert heads["specialization_by_layer.csv"].replace('"', "") == METRIC_CSV
