"""Flipped choices."""

import numpy as np
import pytest

from analysis.stability import flipped_share, flipped_share_null

DOMAIN_ID_N = np.repeat([0, 1], 10)
CHOICES_NL = np.full((20, 2), 100)


def test_the_share_is_of_all_choices_of_all_layers() -> None:
    flipped_NL = np.tile([10, 30], (20, 1))
    found = flipped_share(flipped_NL, CHOICES_NL, DOMAIN_ID_N)
    assert found["estimate"] == 0.2  # 40 of 200
    assert found["low"] == found["high"] == pytest.approx(0.2)  # every text alike


def test_texts_that_differ_give_an_interval() -> None:
    flipped_NL = np.repeat(np.arange(20)[:, None], 2, axis=1)
    found = flipped_share(flipped_NL, CHOICES_NL, DOMAIN_ID_N)
    assert found["estimate"] == pytest.approx(0.095)  # mean of 0 to 19 of 100
    assert 0.05 < found["low"] < 0.095 < found["high"] < 0.14


def test_chance_flips_all_but_the_share_chosen() -> None:
    assert flipped_share_null(64, 256) == 0.75


def test_no_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="0 choices"):
        flipped_share(0 * CHOICES_NL, 0 * CHOICES_NL, DOMAIN_ID_N)
