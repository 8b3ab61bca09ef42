"""Models against one another: the same documents, common seeds, a verdict that asks both."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import bits_table, difference, seed_spread, undecided_reason, variant_table
from analysis.ratios import Interval

LN2 = np.log(2)
DOCUMENTS = pd.DataFrame(
    {"doc_id": range(20), "domain": ["a", "b"] * 10, "group": None, "bytes": [100] * 20}
)


def losses(bits: dict[tuple[str, int], float], noise: float = 0.0) -> pd.DataFrame:
    """Every document of a training costs so many bits per byte, give or take the noise."""
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "preset": preset,
                "seed": seed,
                "doc_id": range(20),
                "nats": LN2 * (100 * value + noise * rng.normal(size=20)),
            }
        )
        for (preset, seed), value in bits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_bits_are_the_mean_over_seeds_with_both_ends() -> None:
    table = bits_table(losses({("moe", 0): 1.0, ("moe", 1): 1.2, ("dense", 0): 1.5}), DOCUMENTS)
    row = table[(table.preset == "moe") & (table.domain == "all")].iloc[0]
    assert row[["estimate", "lowest", "highest"]].tolist() == pytest.approx([1.1, 1.0, 1.2])
    assert (row.seeds, row.n, row.n_groups) == (2, 20, 20)
    assert table[table.preset == "dense"].domain.tolist() == ["a", "b", "all"]


def test_a_difference_is_of_common_seeds() -> None:
    found = losses({("a", 0): 1.0, ("a", 1): 9.0, ("b", 0): 1.5})
    measured = difference(found, DOCUMENTS, "a", "b")
    assert (measured["estimate"], measured["seeds"]) == (pytest.approx(-0.5), 1)
    with pytest.raises(ValueError, match="a and c have no seed in common"):
        difference(pd.concat([found, losses({("c", 7): 1.0})]), DOCUMENTS, "a", "c")


def test_a_difference_may_be_of_one_domain() -> None:
    found = losses({("a", 0): 1.0, ("b", 0): 1.5})
    found.loc[(found.preset == "a") & (found.doc_id % 2 == 0), "nats"] *= 3
    assert difference(found, DOCUMENTS, "a", "b", domain="a")["estimate"] == pytest.approx(1.5)
    assert difference(found, DOCUMENTS, "a", "b", domain="b")["estimate"] == pytest.approx(-0.5)


def test_the_spread_is_what_another_seed_moves_a_difference_by() -> None:
    found = losses({("a", 0): 1.0, ("b", 0): 1.1, ("a", 1): 1.0, ("b", 1): 1.3})
    assert seed_spread(found, DOCUMENTS) == pytest.approx(np.std([0.1, 0.3], ddof=1))


def test_the_spread_of_a_domain_is_of_its_documents_alone() -> None:
    found = losses({("a", 0): 1.0, ("b", 0): 1.0, ("a", 1): 1.0, ("b", 1): 1.0})
    found.loc[(found.preset == "b") & (found.seed == 1) & (found.doc_id % 2 == 0), "nats"] *= 1.2
    spread = seed_spread(found, DOCUMENTS, domain="a")
    assert spread == pytest.approx(np.std([0.0, 0.2], ddof=1))
    assert difference(found, DOCUMENTS, "a", "b", domain="a")["spread"] == spread
    assert seed_spread(found, DOCUMENTS, domain="b") == pytest.approx(0)


def test_one_seed_of_each_knows_no_spread_and_decides_nothing() -> None:
    found = difference(losses({("a", 0): 1.0, ("b", 0): 2.0}, noise=1.0), DOCUMENTS, "a", "b")
    assert np.isnan(found["spread"])
    assert found["verdict"] == "not decided"
    assert found["reason"] == "no two models have two seeds, so what a seed changes is unknown"


@pytest.mark.parametrize(
    ("second", "verdict", "reason"),
    [
        (1.5, "better", ""),
        (0.5, "worse", ""),
        (1.02, "not decided", "seeds alone change it by 0.02"),
    ],
)
def test_a_verdict_needs_more_than_the_seeds_explain(
    second: float, verdict: str, reason: str
) -> None:
    """Pairs a and b differ by 0.00 and 0.02 in two seeds: a spread of 0.014."""
    bits = {("a", 0): 1.0, ("a", 1): 1.0, ("b", 0): 1.0, ("b", 1): 1.02, ("c", 0): second}
    found = difference(losses(bits, noise=0.1), DOCUMENTS, "a", "c")
    assert found["estimate"] == pytest.approx(1.0 - second, abs=0.01)
    assert found["low"] < found["estimate"] < found["high"]
    assert found["verdict"] == verdict
    assert found["reason"].startswith(reason)
    assert bool(found["reason"]) == (verdict == "not decided")


def test_what_is_not_decided_has_its_reason_in_numbers() -> None:
    clear = Interval(estimate=0.003, low=0.002, high=0.004)
    assert undecided_reason(clear, 0.001, 1) == ""
    assert undecided_reason(clear, 0.002, 1) == (
        "seeds alone change it by 0.0040, two standard errors over one seed"
    )
    assert undecided_reason(clear, 0.003, 4) == (
        "seeds alone change it by 0.0030, two standard errors over 4 seeds"
    )
    near = Interval(estimate=0.003, low=-0.001, high=0.007)
    assert undecided_reason(near, 0.001, 1) == "the interval over texts holds 0"
    assert undecided_reason(near, 0.002, 1).startswith("the interval over texts holds 0; seeds")


def test_a_variant_costs_what_it_adds() -> None:
    plain = losses({("a", 0): 1.0}).assign(variant="")
    bits = np.where(plain.doc_id % 4 < 2, 20.0, 30.0)  # in either domain half of the texts
    masked = plain.assign(variant="masked 1/16", nats=plain.nats + LN2 * bits)
    row = variant_table(pd.concat([plain, masked]), DOCUMENTS).iloc[0]
    assert row.variant == "masked 1/16"
    assert row[["bits", "change"]].tolist() == pytest.approx([1.25, 0.25])
    # 0.05 off in each of ten texts a domain; t of 9 + 9 is 2.1009
    reach = 2.1009 * np.sqrt(2 * (10 * 0.05**2 / (10 * 9)) / 4)
    assert (row.low, row.high) == pytest.approx((0.25 - reach, 0.25 + reach), abs=1e-5)
    assert (row.n, row.n_groups) == (20, 20)


def test_a_variant_that_costs_all_texts_alike_has_no_interval() -> None:
    plain = losses({("a", 0): 1.0}).assign(variant="")
    masked = plain.assign(variant="masked 1/16", nats=plain.nats + LN2 * 25.0)
    row = variant_table(pd.concat([plain, masked]), DOCUMENTS).iloc[0]
    assert row.change == pytest.approx(0.25)
    assert pd.isna([row.low, row.high]).all()


def test_texts_of_one_source_are_one_observation() -> None:
    """Ten sources a domain are enough, in pairs or alone; five pairs are not."""
    pairs = DOCUMENTS.assign(group=[f"source {n // 4}" for n in range(20)])
    both = losses({("a", 0): 1.0, ("b", 0): 1.5}, noise=1.0)
    alone, paired = (difference(both, texts, "a", "b") for texts in (DOCUMENTS, pairs))
    assert paired["estimate"] == alone["estimate"]
    assert alone["low"] < alone["estimate"] < alone["high"]
    assert paired["high"] - paired["low"] > 1.1 * (alone["high"] - alone["low"])
    table = bits_table(both, pairs)
    assert table.n_groups.tolist() == [5, 5, 10] * 2
    assert table.low.isna().tolist() == [True, True, False] * 2  # each domain, then both
