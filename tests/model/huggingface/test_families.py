"""Every MoE family of the installed transformers: what is recorded is what the experts did."""

from collections.abc import Iterator

import pytest
import torch

from tests.families.found import Family, families
from tests.model.huggingface.proof import prove
from tests.model.huggingface.table import LIMIT, row, written


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_recorded_routing_replays_to_what_the_layer_gave(family: Family) -> None:
    proven = prove(family)
    assert proven.reading <= LIMIT
    assert proven.generating is None or proven.generating <= LIMIT
    assert row(proven) in written()  # if not: make models


def test_the_table_has_every_family_and_no_other() -> None:
    rows = [line for line in written().splitlines() if line.startswith("| ")][1:]
    names = [line.split(" | ")[0].removeprefix("| ") for line in rows if "---" not in line]
    assert names == [family.name for family in families()]
    assert len(names) >= 70
