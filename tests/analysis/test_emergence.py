import numpy as np
import pytest

from analysis.emergence import domain_experts, domain_information, tokens_by_domain

LABELS_N = np.repeat([0, 1], 4)
SPLIT_NLE = np.repeat([[[300, 0]], [[0, 300]]], 4, axis=0)  # expert 0 for domain 0, 1 for 1
EVEN_NLE = np.full((8, 1, 2), 150)


def test_choices_are_summed_by_domain() -> None:
    assert tokens_by_domain(SPLIT_NLE, LABELS_N, num_domains=2)[0].tolist() == [
        [1200, 0],
        [0, 1200],
    ]


def test_experts_are_counted_by_domain_beside_shuffled_labels() -> None:
    table = domain_experts(SPLIT_NLE, LABELS_N, domains=("math", "code"))
    assert table.domain.tolist() == ["math", "code", "too little data", "none"]
    assert table.experts.tolist() == [1, 1, 0, 0]
    assert table.null.sum() == 2
    # 36 of the 70 ways to deal 4 and 4 labels give each expert two texts of either domain
    assert table.null[3] == pytest.approx(2 * 36 / 70, abs=0.2)


def test_experts_that_serve_all_alike_have_no_domain() -> None:
    table = domain_experts(EVEN_NLE, LABELS_N, domains=("math", "code"))
    assert table.experts.tolist() == [0, 0, 0, 2]
    assert table.null.tolist() == [0, 0, 0, 2]


def test_information_is_a_share_beside_shuffled_labels() -> None:
    split = domain_information(SPLIT_NLE, LABELS_N, domains=("math", "code"))
    assert split.information_share.tolist() == pytest.approx([1.0])
    assert 0 < split.null[0] < 0.5
    even = domain_information(EVEN_NLE, LABELS_N, domains=("math", "code"))
    assert even.information_share.tolist() == pytest.approx([0.0])
    assert even.null.tolist() == pytest.approx([0.0])


def test_one_domain_has_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="one domain"):
        domain_experts(SPLIT_NLE, np.zeros(8, int), domains=("math", "code"))
