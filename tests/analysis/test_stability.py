"""Flipped choices."""

import numpy as np
import pytest

from analysis.stability import Choices, changed_choices, flipped_share, flipped_share_null
from data.routing import Document

DOMAIN_ID_N = np.repeat([0, 1], 10)
CHOICES_NL = np.full((20, 2), 100)


def test_the_share_is_of_all_choices_of_all_layers() -> None:
    flipped_NL = np.tile([10, 30], (20, 1))
    found = flipped_share(flipped_NL, CHOICES_NL, DOMAIN_ID_N)
    assert found["estimate"] == 0.2  # 40 of 200
    assert np.isnan([found["low"], found["high"]]).all()  # every group alike


def test_groups_that_differ_give_an_interval() -> None:
    flipped_NL = np.repeat(np.arange(20)[:, None], 2, axis=1)
    found = flipped_share(flipped_NL, CHOICES_NL, DOMAIN_ID_N)
    assert found["estimate"] == pytest.approx(0.095)  # mean of 0 to 19 of 100
    assert 0.05 < found["low"] < 0.095 < found["high"] < 0.14
    nine = slice(9)  # of one domain
    few = flipped_share(flipped_NL[nine], CHOICES_NL[nine], DOMAIN_ID_N[nine])
    assert np.isnan([few["low"], few["high"]]).all()


def test_the_flips_of_a_group_are_one_observation() -> None:
    """40 texts of ten tokens in pairs: both lose as many of three experts, 0 to 3."""
    kept_NE = np.arange(3) >= (np.arange(40) // 2 % 4)[:, None]
    document_T = np.repeat(np.arange(40), 10)
    before = Choices(document_T, np.ones((400, 1, 3), bool))
    after = Choices(document_T, kept_NE[document_T][:, None])
    alone, paired, few = (
        changed_choices(before, after, in_groups(40, of_size=size)) for size in (1, 2, 5)
    )
    assert alone["estimate"] == paired["estimate"] == pytest.approx(0.5)  # 0 to 3 of 3
    assert width(paired) > 1.4 * width(alone)
    assert (few["low"], few["high"]) == (None, None)


def in_groups(number: int, *, of_size: int) -> list[Document]:
    return [
        Document(doc_id=n, text="text", domain="a", group=str(n // of_size)) for n in range(number)
    ]


def width(share: dict[str, float | None]) -> float:
    assert share["low"] is not None
    assert share["high"] is not None
    return share["high"] - share["low"]


def test_chance_flips_all_but_the_share_chosen() -> None:
    assert flipped_share_null(64, 256) == 0.75


def test_no_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="0 choices"):
        flipped_share(0 * CHOICES_NL, 0 * CHOICES_NL, DOMAIN_ID_N)
