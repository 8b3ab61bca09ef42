"""Small tables that can be counted, and planted domains that differ or do not."""

import numpy as np
import pandas as pd
import pytest

from analysis.domain_counts import ALL_LAYERS
from analysis.experts_per_token import MAX_BINS, k_histogram, mean_k_table
from analysis.groups import NOT_ENOUGH
from tests.planted import holds_no_number_that_is_none

DOMAINS = ("math", "code")


def of_k(tokens: dict[tuple[str, int], int]) -> pd.DataFrame:
    rows = [(domain, k, count) for (domain, k), count in tokens.items()]
    return pd.DataFrame(rows, columns=["domain", "k", "tokens"])


def planted(*, code: float, documents: int = 20, seed: int = 0) -> tuple[np.ndarray, ...]:
    """100 tokens a document and about 10 experts a token, in code documents another number."""
    rng = np.random.default_rng(seed)
    domain_id_N = np.repeat([0, 1], documents)
    mean_N = np.where(domain_id_N == 1, code, 10.0) + rng.normal(0, 0.5, 2 * documents)
    choices_NL = np.round(100 * mean_N).astype(int)[:, None]
    return choices_NL, np.full(2 * documents, 100), domain_id_N


def table(planted: tuple[np.ndarray, ...], *, layer_id: int = 0) -> pd.DataFrame:
    found = mean_k_table(*planted, domains=DOMAINS, experts_L=np.full(planted[0].shape[1], 64))
    return found[found.layer_id == layer_id].set_index("domain")


def test_the_histogram_of_a_domain_adds_up_to_its_tokens() -> None:
    found = k_histogram(of_k({("math", 1): 3, ("math", 3): 1, ("code", 2): 5}))
    assert found.domain.tolist() == ["math"] * 3 + ["code"] * 3
    assert found.first_k.tolist() == found.last_k.tolist() == [1, 2, 3] * 2
    assert found.tokens.tolist() == [3, 0, 1, 0, 5, 0]
    assert found.share.tolist() == [0.75, 0, 0.25, 0, 1, 0]


def test_a_wide_histogram_has_bins_of_equal_width_from_the_smallest_k() -> None:
    found = k_histogram(of_k({("math", k): 1 for k in range(128, 257)}))
    assert len(found) == 33 <= MAX_BINS  # 129 values by fours
    assert found.loc[[0, 31, 32], ["first_k", "last_k", "tokens"]].to_numpy().tolist() == [
        [128, 131, 4],
        [252, 255, 4],
        [256, 256, 1],
    ]


def test_layers_add_up_in_the_histogram() -> None:
    layers = pd.concat([of_k({("math", 2): 3}), of_k({("math", 2): 1, ("math", 3): 2})])
    assert k_histogram(layers).tokens.tolist() == [4, 2]


def test_the_mean_is_of_tokens_and_not_of_documents() -> None:
    """math: 90 tokens of 2 experts and 10 of 7; code: 50 tokens of 4."""
    choices_NL = np.array([[180, 90], [70, 10], [200, 50]])
    found = mean_k_table(
        choices_NL,
        np.array([90, 10, 50]),
        np.array([0, 0, 1]),
        domains=DOMAINS,
        experts_L=np.array([8, 8]),
    )
    assert found.layer_id.tolist() == [ALL_LAYERS] * 2 + [0, 0] + [1, 1]
    assert found.estimate.tolist() == [1.75, 2.5, 2.5, 4.0, 1.0, 1.0]
    assert found.null.tolist() == [2.0, 2.0, 3.0, 3.0, 1.0, 1.0]  # 300 / 150, 450 / 150, 150 / 150
    assert found.n_tokens.tolist() == [100, 50] * 3
    assert found.n_groups.tolist() == [2, 1] * 3
    assert found[["low", "high"]].isna().to_numpy().all()  # one group and two
    assert set(found.note) == {f"{NOT_ENOUGH} how sure this is"}


def test_a_domain_that_runs_more_experts_is_found() -> None:
    found = table(planted(code=12.0))
    assert found.low["code"] < 12 < found.high["code"]
    assert found.high["math"] < found.null["math"] < found.low["code"]
    assert (found.q < 0.01).all()
    assert holds_no_number_that_is_none(found)


@pytest.mark.slow
def test_domains_that_differ_by_luck_are_not() -> None:
    found = [table(planted(code=10.0, seed=seed)) for seed in range(60)]
    false = np.mean([one.p.iloc[0] < 0.05 for one in found])
    held = np.mean([one.low["math"] <= 10 <= one.high["math"] for one in found])
    assert false <= 0.12  # 3 of 60 expected; 8 or more in 1 of 100 such sets
    assert held >= 0.88


def test_all_layers_are_the_mean_of_the_layers() -> None:
    choices_NL, tokens_N, domain_id_N = planted(code=12.0)
    both = (np.column_stack([choices_NL, 3 * choices_NL]), tokens_N, domain_id_N)
    each = [table(both, layer_id=layer_id).estimate for layer_id in (0, 1)]
    assert table(both, layer_id=ALL_LAYERS).estimate.tolist() == pytest.approx(
        ((each[0] + each[1]) / 2).tolist()
    )


def test_a_fixed_k_has_nothing_to_test() -> None:
    _, tokens_N, domain_id_N = planted(code=10.0)
    found = table((6 * tokens_N[:, None], tokens_N, domain_id_N))
    assert found.estimate.tolist() == [6.0, 6.0]
    assert found[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(found.note) == {"texts all alike: nothing to test"}


def test_one_domain_has_an_interval_and_nothing_to_compare() -> None:
    choices_NL, tokens_N, domain_id_N = planted(code=12.0)
    found = table((choices_NL, tokens_N, np.zeros_like(domain_id_N)))
    assert found.low["math"] < 11 < found.high["math"]
    assert found.note.tolist() == ["one domain: nothing to compare"]


def test_a_domain_of_few_groups_is_not_tested_and_the_other_is() -> None:
    choices_NL, tokens_N, domain_id_N = planted(code=12.0, documents=20)
    few = table((choices_NL[:29], tokens_N[:29], domain_id_N[:29]))  # nine of code
    assert few.note.tolist() == [
        f"{NOT_ENOUGH} in the other domains",
        f"{NOT_ENOUGH} how sure this is",
    ]
    assert few.loc["code", ["low", "high", "p", "q"]].isna().all()
    assert few.loc["math", ["low", "high"]].notna().all()
    assert few.loc["math", ["p", "q"]].isna().all()
    tokens_N[20], choices_NL[20] = 2000, 24000  # counts as (19 + 20)^2 / (19 + 400) = 3.6
    giant = table((choices_NL, tokens_N, domain_id_N))
    assert giant.loc["code", ["low", "p"]].isna().all()
    assert giant.n_groups["code"] == 20
