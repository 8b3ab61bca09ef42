"""Which groups choose and which judge."""

import numpy as np

from analysis.halves import judging_half


def test_of_two_groups_alike_in_size_one_judges() -> None:
    size_N = np.array([90, 10, 80, 20, 5, 6, 7, 8])
    domain_id_N = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    judges_N = judging_half(size_N, domain_id_N)
    for pair in ([0, 2], [3, 1], [7, 6], [5, 4]):
        assert judges_N[pair].sum() == 1, pair


def test_domains_of_one_group_each_are_divided_as_one() -> None:
    for seed in range(20):
        judges_N = judging_half(np.array([9, 8, 7, 6]), np.arange(4), seed=seed)
        assert judges_N[:2].sum() == judges_N[2:].sum() == 1


def test_the_seed_decides_and_the_last_of_an_odd_number_goes_either_way() -> None:
    size_N, domain_id_N = np.arange(9) + 1, np.zeros(9, int)
    halves = [judging_half(size_N, domain_id_N, seed=seed) for seed in range(20)]
    assert (halves[0] == judging_half(size_N, domain_id_N, seed=0)).all()
    assert len({half.tobytes() for half in halves}) > 10
    assert {int(half.sum()) for half in halves} == {4, 5}
