"""Flips with their intervals and nulls, by layer, domain, phase and margin, and of tokens."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.matching.choices import Choices, first_choices_at, second_choices_at
from analysis.matching.flip_tables import (
    flip_table,
    flips_by_margin,
    share_interval,
    tokens_that_differ,
)
from analysis.matching.flip_tokens import flipped_tokens, flips_by_string
from analysis.matching.flips import Flips, flips
from analysis.matching.texts import MatchedTexts, matched_texts
from tests.matched import Text, opened, write_texts

LAYERS = 4


def flipped_at(flipped_PL: np.ndarray, group_P: np.ndarray, domain_P: np.ndarray) -> Flips:
    """Every decision chooses expert 0, and in the other trace 1 where it flips."""
    places, layers = flipped_PL.shape
    ids_PLK = np.zeros((places, layers, 1), np.int16)
    known = {
        "weights_PLK": np.ones(ids_PLK.shape, np.float32),
        "margin_PL": np.full(flipped_PL.shape, 0.02, np.float32),
    }
    return flips(
        Choices(ids_PLK=ids_PLK, **known),
        Choices(ids_PLK=flipped_PL[..., None].astype(np.int16), **known),
        num_experts=2,
        level_PL=np.full(flipped_PL.shape, 0.01),
        group_P=group_P,
        phase_P=(group_P % 2).astype(np.uint8),
        domain_P=domain_P,
        size_P=np.ones(places, int),
    )


def drawn(rate: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """flipped_PL (float), group_P and domain_N: 40 groups of 50 places, of two domains."""
    rng = np.random.default_rng(seed)
    flipped_PL = rng.random((2000, LAYERS)) < rate
    return flipped_PL, np.repeat(np.arange(40), 50), np.arange(40) % 2


def test_a_figure_is_the_share_of_its_decisions_in_every_part() -> None:
    flipped_PL, group_P, domain_N = drawn(0.2)
    found = flipped_at(flipped_PL, group_P, domain_N[group_P])
    table = flip_table(found, domain_N, ["math", "code"])
    rates = table[table.figure == "flip_rate"]
    assert rates[rates.by == "all"].estimate.tolist() == [pytest.approx(flipped_PL.mean())]
    layers = rates[rates.by == "layer"]
    assert layers.estimate.tolist() == pytest.approx(flipped_PL.mean(0).tolist())
    assert layers.layer_id.tolist() == list(range(LAYERS))
    domains = rates[rates.by == "domain"].set_index("domain")
    assert domains.estimate["code"] == pytest.approx(flipped_PL[domain_N[group_P] == 1].mean())
    assert domains.n.tolist() == [1000 * LAYERS] * 2
    assert rates[rates.by == "phase"].phase.tolist() == ["prefill", "decode"]
    assert (rates.low < rates.estimate).all()
    assert (rates.estimate < rates.high).all()
    assert (rates.unrelated - rates.estimate).abs().max() < 0.05  # of 0 and 1: no router is better


def test_the_interval_is_that_of_groups_and_its_ends_are_shares() -> None:
    few_N = np.array([1.0, 0.0] + [0.0] * 18)
    of = share_interval(few_N, np.full(20, 10.0), np.zeros(20, int))
    assert of["low"] == 0
    assert of["high"] > 0.005
    alone = share_interval(np.array([1.0]), np.array([4.0]), np.zeros(1, int))
    assert alone["estimate"] == 0.25
    assert np.isnan(alone["low"])


def test_independent_layers_differ_in_one_less_the_product_of_what_stays() -> None:
    flipped_PL, group_P, domain_N = drawn(0.3)
    found = flipped_at(flipped_PL, group_P, domain_N[group_P])
    sizes = np.ones(len(group_P))
    some = tokens_that_differ(found, group_P=group_P, domain_N=domain_N, size_P=sizes)
    assert some["estimate"] == pytest.approx(flipped_PL.any(1).mean())
    assert some["independent"] == pytest.approx(1 - np.prod(1 - flipped_PL.mean(0)))
    assert some["low"] < some["independent"] < some["high"]
    together_PL = np.repeat(flipped_PL[:, :1], LAYERS, axis=1)
    found = flipped_at(together_PL, group_P, domain_N[group_P])
    some = tokens_that_differ(found, group_P=group_P, domain_N=domain_N, size_P=sizes)
    assert some["estimate"] == pytest.approx(together_PL[:, 0].mean())
    assert some["high"] < some["independent"]
    assert some["mean_layers"] == pytest.approx(LAYERS * together_PL[:, 0].mean())


def test_the_interval_of_tokens_holds_the_truth_in_95_of_100_samples() -> None:
    held = 0
    for seed in range(200):
        flipped_PL, group_P, domain_N = drawn(0.1, seed=seed)
        amount_N = np.bincount(group_P, flipped_PL.any(1))
        of = share_interval(amount_N, np.full(40, 50.0), domain_N)
        held += of["low"] < 1 - 0.9**LAYERS < of["high"]
    assert 184 <= held <= 199


def test_margins_that_do_not_occur_have_no_row() -> None:
    flipped_PL, group_P, domain_N = drawn(0.1)
    table = flips_by_margin(flipped_at(flipped_PL, group_P, domain_N[group_P]), domain_N)
    assert table[["above", "up_to"]].to_numpy().tolist() == [
        [pytest.approx(0.01), pytest.approx(10**-1.5)]
    ]
    assert table.estimate.tolist() == [pytest.approx(flipped_PL.mean())]
    assert table.share.tolist() == [1]


def two_traces(folder: Path) -> tuple[MatchedTexts, Choices, Choices]:
    """Thirty texts "a b a b a": the second trace routes every b otherwise, in both layers, and the
    a of text 3 at position 2 in one."""
    pieces = [" a", " b", " a", " b", " a"]
    for name in ("first", "second"):
        texts = []
        for number in range(30):
            ids_TLK = np.tile([0, 1], (5, 2, 1))
            if name == "second":
                ids_TLK[1::2, :, 1] = 2
            if name == "second" and number == 3:
                ids_TLK[2, 0] = [6, 7]
            texts.append(Text(pieces=[f"{number}", *pieces[1:]], ids_TLK=ids_TLK))
        write_texts(folder / f"{name}.duckdb", texts, layers=2)
    first, second = (opened(folder / f"{name}.duckdb") for name in ("first", "second"))
    matched = matched_texts(first, second)
    return (
        matched,
        first_choices_at(*first, matched),
        second_choices_at(*second, matched),
    )


def found_of(matched: MatchedTexts, first: Choices, second: Choices) -> Flips:
    return flips(
        first,
        second,
        num_experts=8,
        level_PL=np.zeros(first.margin_PL.shape),
        group_P=matched.groups()[0],
        phase_P=matched.phases(),
        domain_P=matched.domain_P,
        size_P=matched.size_P,
    )


def test_tokens_that_flip_in_most_layers_come_first_with_their_text(tmp_path: Path) -> None:
    matched, first, second = two_traces(tmp_path)
    table = flipped_tokens(found_of(matched, first, second), matched, first)
    assert len(table) == 61
    assert (table.layers[:60] == 2).all()
    assert (table.token[:60] == " b").all()
    last = table.iloc[60]
    assert (last.doc_id, last.position, last.layers, last.exchanged) == (3, 2, 1, 2)
    assert (last.before, last.token, last.after) == ("3 b", " a", " b a")
    assert last.mean_margin == pytest.approx(0.01)


def test_strings_that_flip_for_certain_come_first_beside_what_all_do(tmp_path: Path) -> None:
    matched, first, second = two_traces(tmp_path)
    group_P, domain_N = matched.groups()
    table = flips_by_string(
        found_of(matched, first, second), matched, group_P=group_P, domain_N=domain_N
    )
    assert table.token.tolist() == [" b", " a"]
    assert table.occurrences.tolist() == [60, 60]
    assert table.estimate.tolist() == pytest.approx([1, 1 / 120])
    assert table.expected.tolist() == pytest.approx([121 / 300] * 2)
    assert np.isnan(table.low[0])  # every group is alike
    assert table.q[0] < 1e-5 < 0.9 < table.q[1]


def test_words_that_flip_as_all_do_are_found_in_5_of_100_traces_at_most() -> None:
    rng = np.random.default_rng(0)
    group_P = np.repeat(np.arange(40), 50)
    tokens = pd.DataFrame({"text": rng.integers(20, size=2000).astype(str)})
    found = 0
    for _ in range(40):
        rate_P = rng.beta(0.5, 2, 40)[group_P]  # groups differ
        flipped_PL = rng.random((2000, 1)) < rate_P[:, None]
        table = flips_by_string(
            flipped_at(flipped_PL, group_P, np.zeros(2000, int)),
            matched_as(tokens),
            group_P=group_P,
            domain_N=np.zeros(40, int),
        )
        found += int((table.q < 0.05).any())
    assert found <= 5


def test_a_word_that_lies_in_several_places_occurs_once(tmp_path: Path) -> None:
    """By characters: each of its three is a token of the other trace."""
    texts = [
        [Text(pieces=["abc"])] * 24,
        [Text(pieces=["a", "b", "c"], ids_TLK=np.array([[[2, 3]]] * 3))] * 24,
    ]
    for name, of in zip("ab", texts, strict=True):
        write_texts(tmp_path / f"{name}.duckdb", of)
    sides = [opened(tmp_path / f"{name}.duckdb") for name in "ab"]
    matched = matched_texts(*sides)
    chosen = first_choices_at(*sides[0], matched), second_choices_at(*sides[1], matched)
    group_P, domain_N = matched.groups()
    table = flips_by_string(found_of(matched, *chosen), matched, group_P=group_P, domain_N=domain_N)
    assert len(matched.row_P) == 72
    assert table.occurrences.tolist() == [24]


def test_a_word_in_few_texts_has_no_q() -> None:
    flipped_PL, group_P, domain_N = drawn(0.2)
    tokens = pd.DataFrame({"text": np.where(group_P < 5, "rare", "often")})
    table = flips_by_string(
        flipped_at(flipped_PL, group_P, domain_N[group_P]),
        matched_as(tokens),
        group_P=group_P,
        domain_N=domain_N,
    ).set_index("token")
    assert table.q.notna().to_dict() == {"rare": False, "often": True}


def matched_as(tokens: pd.DataFrame) -> MatchedTexts:
    """Every token is a place."""
    place = np.arange(len(tokens))
    ones = np.ones(len(tokens), int)
    return MatchedTexts(
        by="tokens",
        first=tokens,
        second=tokens,
        row_P=place,
        other_row_P=place,
        size_P=ones,
        unit_P=ones,
        domain_P=ones,
        num_texts=1,
        num_read=1,
        num_laid=1,
        most=0,
        of_texts=(1, 1),
    )
