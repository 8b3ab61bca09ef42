"""What is over-represented among some points of a map."""

import numpy as np
import pandas as pd
import pytest

from analysis.brush import BAGS, Brush, with_q

GROUPS, EACH = 40, 50


def found(item_P: np.ndarray, inside_P: np.ndarray, unit_P: np.ndarray) -> pd.DataFrame:
    return Brush.of(inside_P, unit_P).compared(item_P, int(item_P.max()) + 1)[1]


def sample(seed: int, *, items: int, twice_as_often: bool) -> tuple[np.ndarray, ...]:
    """Groups of unlike words, half of whose points lie inside; there item 0 is more frequent."""
    rng = np.random.default_rng(seed)
    unit_P = np.repeat(np.arange(GROUPS), EACH)
    inside_P = rng.random(len(unit_P)) < rng.beta(2, 2, GROUPS)[unit_P]
    share_UI = rng.dirichlet(np.full(items, 5.0), GROUPS)
    item_P = np.array([rng.choice(items, p=share_UI[unit]) for unit in unit_P])
    if twice_as_often:
        item_P[inside_P & (rng.random(len(unit_P)) < 1 / items)] = 0
    return item_P, inside_P, unit_P


def test_the_ratio_is_that_of_the_shares() -> None:
    unit_P = np.repeat(np.arange(20), 10)
    inside_P = np.tile([True] * 5 + [False] * 5, 20)
    item_P = np.tile([0, 0, 0, 1, 1, 0, 1, 1, 1, 1], 20)  # 3 of 5 inside, 1 of 5 outside
    table = found(item_P, inside_P, unit_P)
    assert table.points.tolist() == [60, 40]
    assert table.share[0] == pytest.approx(0.6)
    assert table.share_of_rest[0] == pytest.approx(0.2)
    assert table.ratio[0] == pytest.approx(60.5 / 20.5)  # half a point is added to each count


def test_what_is_more_frequent_inside_is_found() -> None:
    table = found(*sample(0, items=20, twice_as_often=True))
    assert table.ratio.argmax() == 0
    assert table.low[0] > 1
    assert table.p[0] < 0.01


def test_where_nothing_differs_p_is_rarely_small_and_intervals_hold_1() -> None:
    tables = [found(*sample(seed, items=20, twice_as_often=False)) for seed in range(20)]
    table = pd.concat(tables)
    assert 0.01 < (table.p < 0.05).mean() < 0.08
    assert 0.92 < ((table.low < 1) & (table.high > 1)).mean() < 0.99


def test_points_of_one_group_have_no_interval() -> None:
    item_P, _, unit_P = sample(0, items=2, twice_as_often=False)
    brush = Brush.of(unit_P == 3, unit_P)
    assert brush.note.startswith("All of these points come from one group")
    _, table = brush.compared(item_P, 2)
    assert table.ratio.notna().all()
    assert table[["low", "high", "p"]].isna().all(axis=None)


def test_points_of_few_groups_have_no_interval() -> None:
    unit_P = np.repeat(np.arange(GROUPS), EACH)
    assert "as good as 9.0 groups" in Brush.of(unit_P < 9, unit_P).note
    assert Brush.of(unit_P < 10, unit_P).note == ""


def test_a_rare_word_of_one_text_is_not_found_and_one_of_many_is() -> None:
    unit_P = np.repeat(np.arange(100), 100)
    inside_P = np.arange(len(unit_P)) % 100 < 3
    item_P = np.zeros(len(unit_P), int)
    item_P[:60:1] = np.where(np.arange(60) < 3, 1, 0)
    item_P[unit_P == 7] = 1  # 100 times in one text, 3 of them inside
    item_P[(np.arange(len(unit_P)) % 100 == 0) & (unit_P < 40)] = 2  # inside, in 40 texts
    table = found(item_P, inside_P, unit_P)
    assert np.isnan(table.p[1])  # in fewer than 5 bags
    assert table.p[2] < 1e-6
    assert np.isnan(table.low[2])  # 1.2 points of it were expected


def test_items_of_few_points_are_left_out() -> None:
    item_P = np.repeat([0, 1, -1], [20, 19, 30])
    brush = Brush.of(np.arange(69) % 2 == 0, np.arange(69))
    kept, table = brush.compared(item_P, 2)
    assert kept.tolist() == [0]
    assert table.share.tolist() == [10 / 35]  # of all points, those without an item included
    names = pd.Series(np.array(["many", "few", None])[item_P], dtype="category")
    assert brush.by_name(names, "text").text.tolist() == ["many"]


def test_more_groups_than_bags_are_put_together() -> None:
    unit_P = np.arange(3 * BAGS)
    brush = Brush.of(unit_P % 2 == 0, unit_P)
    assert np.bincount(brush.bag_P).tolist() == [3] * BAGS
    assert brush.freedom == BAGS - 1


def test_weights_count_instead_of_points() -> None:
    """60 points inside, 60 outside; item 0 has 20 and 40 of them, which weigh 3 and 1."""
    inside_P, place = np.repeat([True, False], 60), np.tile(np.arange(60), 2)
    item_P = np.where(place < np.where(inside_P, 20, 40), 0, 1)
    weight_P = np.where(item_P == 0, 3.0, 1.0)
    _, table = Brush.of(inside_P, place, weight_P=weight_P).compared(item_P, 2)
    assert table.points.tolist() == [60, 40]
    assert table.share.tolist() == [60 / 100, 40 / 100]
    assert table.share_of_rest.tolist() == [120 / 140, 20 / 140]


def test_what_is_too_little_evidence_is_left_out_whatever_it_weighs() -> None:
    inside_P, item_P = np.tile([True, False], 20), np.repeat([0, 1], 20)
    half_P, much_P = np.full(40, 0.5), np.full(40, 100)
    brush = Brush.of(inside_P, np.arange(40), weight_P=much_P, points_P=half_P)
    assert brush.compared(item_P, 2)[0].tolist() == []
    assert brush.freedom == 19  # 20 groups inside


def test_all_tables_are_tested_together() -> None:
    rows = {"ratio": 2.0, "low": 1.5, "high": 3.0}
    tables = {"a": pd.DataFrame([{"p": 0.02} | rows]), "b": pd.DataFrame([{"p": 0.5} | rows])}
    found = with_q(tables)
    assert found["a"].q[0] == pytest.approx(0.04)
    assert found["b"].q[0] == pytest.approx(0.5)


def test_what_is_sure_comes_first_then_what_is_largest() -> None:
    table = pd.DataFrame(
        {"p": [0.9, 1e-6, 1e-6, 1e-6], "low": [5, 1.2, 2, 0.1], "ratio": [9, 2, 3, 0.2]}
    )
    assert with_q({"words": table})["words"].ratio.tolist() == [3, 2, 9, 0.2]
