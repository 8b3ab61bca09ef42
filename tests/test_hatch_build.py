from pathlib import Path

import pytest

from hatch_build import rewritten

SOURCE = b'''\
"""Says `from app.cli import main`, as text."""
import ast
from pathlib import Path
from app import (
    workspace,
)
from application import app
def page() -> "data.Frame":
    from data.store import open_trace
    return "from model.moe import MoE"
'''


def test_only_imports_of_the_moved_folders_change() -> None:
    assert rewritten(SOURCE, Path("a.py")) == SOURCE.replace(
        b"\nfrom app import (", b"\nfrom routescope.app import ("
    ).replace(b"    from data.", b"    from routescope.data.")


def test_an_import_that_binds_the_bare_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.py:2: write `from"):
        rewritten(b"import ast\nimport app.cli\n", Path("a.py"))
