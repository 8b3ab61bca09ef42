"""The rules of dependency, read from the import statements of every file."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "model": {"duckdb", "pandas", "streamlit", "plotly", "lm_eval", "analysis", "app"},
    "analysis": {"torch", "streamlit", "plotly", "lm_eval", "model", "app"},
    "data": {"torch", "streamlit", "plotly", "lm_eval", "model", "analysis", "app"},
}
FORBIDDEN_IN_FIGURES = {"torch", "streamlit", "duckdb"}
FIGURES = (
    "figures.py",
    "experts_figures.py",
    "flips_figures.py",
    "play.py",
    "heatmap.py",
    "intervals.py",
    "theme.py",
)
BY_DOCUMENT = {  # who may count by document, where everything else takes groups
    "analysis/arrays.py",  # sums them over groups
    "app/studies/statistics.py",  # the design effect compares both; specialists by other units
    "app/views/vocabulary/tables.py",  # definitions of papers
    "app/studies/claims.py",  # halves of whole groups
    "app/studies/ablation.py",  # losses, before they are summed over groups
}
MODEL_MAY_USE = {
    "data.routing",
    "data.outputs",
    "data.strict_json",
    "data.training_folder",
    "data.words",
}


def imports(path: Path, *, at_import_time: bool = False) -> set[str]:
    """Full names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_import_time else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_layer_imports_nothing_above_it(folder: str) -> None:
    crossing = {
        str(path.relative_to(ROOT)): bad
        for path in files(folder)
        if (bad := packages(imports(path)) & FORBIDDEN[folder])
    }
    assert crossing == {}


def test_model_knows_only_the_record_and_the_files_of_a_training() -> None:
    for path in files("model"):
        used = {name for name in imports(path) if name.startswith("data.")}
        assert all(name.startswith(tuple(MODEL_MAY_USE)) for name in used), (path.name, used)


@pytest.mark.parametrize("name", sorted(MODEL_MAY_USE))
def test_what_model_sees_of_data_needs_no_other_library_than_numpy(name: str) -> None:
    used = imports(ROOT / f"{name.replace('.', '/')}.py")
    used = packages({module for module in used if not module.startswith(tuple(MODEL_MAY_USE))})
    assert used - sys.stdlib_module_names <= {"numpy"}


def test_figures_query_nothing() -> None:
    figures = [path for path in files("app/views") if path.name in FIGURES]
    assert {path.name for path in figures} == set(FIGURES)
    for path in figures:
        assert not {"analysis.queries", "data.store", "app.workspace"} & imports(path), path
        assert not FORBIDDEN_IN_FIGURES & packages(imports(path)), path


def test_only_app_imports_streamlit() -> None:
    others = [path for folder in ("model", "analysis", "data") for path in files(folder)]
    assert [path for path in others if "streamlit" in packages(imports(path))] == []


def test_the_app_does_not_need_lm_eval() -> None:
    using = [path.name for path in files("app") if "lm_eval" in packages(imports(path))]
    assert using == ["lm_eval_model.py"]


def test_one_module_opens_files_of_duckdb() -> None:
    opening = [
        str(path.relative_to(ROOT))
        for folder in ("app", "model", "analysis", "data")
        for path in files(folder)
        if "duckdb.connect(" in path.read_text(encoding="utf-8")
    ]
    assert opening == ["data/connection.py"]


def test_the_unit_of_evidence_is_a_group() -> None:
    """A page or function cannot forget it: only these ask for counts by document."""
    asking = {
        path.relative_to(ROOT).as_posix()
        for path in [*files("app"), *files("analysis"), *files("benchmarks")]
        if "document_array(" in path.read_text(encoding="utf-8")
    }
    assert asking == BY_DOCUMENT


def test_pages_do_not_pay_for_torch() -> None:
    for path in files("app"):
        now = packages(imports(path, at_import_time=True))
        assert not {"torch", "model"} & now, f"{path.name} imports torch before it is needed"


def test_no_test_file_imports_another() -> None:
    """Nor does a script for a process of its own: what both need lies in support modules."""
    importing = {
        str(path.relative_to(ROOT)): module.group()
        for path in files("tests")
        if (module := re.search(r"\btests(\.\w+)*\.test_\w+", path.read_text(encoding="utf-8")))
    }
    assert importing == {}


def test_pages_are_short_and_files_are_not_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files("app")
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > (80 if path.name == "page.py" else 300)
    }
    assert long == {}


def test_pages_that_read_tables_do_not_wait_for_a_compiler() -> None:
    """numba takes a second to import: what replays and permutes asks for it."""
    known = "app.sidecars, app.evidence, app.views.overview.panels, app.views.shared.trace_choice"
    script = f"import sys, {known}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
