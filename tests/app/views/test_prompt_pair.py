"""Two texts beside each other: their tokens, flips, and what is said of them."""

import numpy as np
import pandas as pd

from analysis.token_diff import MAX_TOKENS
from app.views.prompts import pair_figures, pair_panels, token_pair
from app.views.prompts.panels import UNSEEN
from app.views.prompts.token_pair import TokenPair, pair_table
from app.views.shared.theme import LIGHT
from data.routing import NO_EXPERT
from tests.app.markup import MARKUP


def routing(words: list[str], ids: list[list[list[int]]]) -> pd.DataFrame:
    """As queries.document_routing: ids [T, L, K] of the text's tokens."""
    rows = [
        {"position": place, "text": word, "layer_id": layer_id, "rank": rank, "expert_id": expert}
        for place, (word, layers) in enumerate(zip(words, ids, strict=True))
        for layer_id, experts in enumerate(layers)
        for rank, expert in enumerate(experts)
    ]
    known = {"weight": 0.5, "margin": 0.1, "dropped": False, "special": None, "token_id": 7}
    return pd.DataFrame(rows).assign(**known)


def of(
    first: pd.DataFrame, second: pd.DataFrame, *, num_layers: int = 2, one_model: bool = True
) -> TokenPair:
    return token_pair.token_pair(first, second, np.full(num_layers, 9), one_model=one_model)


CAT = routing(["the", " cat", " sat"], [[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[5, 6], [7, 8]]])
DOG = routing(
    ["the", " old", " dog", " sat"],
    [[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[0, 1], [0, 1]], [[6, 5], [7, 2]]],
)


def test_a_pair_by_hand() -> None:
    """Both have "the", which chooses the same, and "sat", of which 8 becomes 2 in layer 1."""
    pair = of(CAT, DOG)
    assert pair.names("first") == ["the", " cat", "", " sat"]
    assert pair.names("second") == ["the", " old", " dog", " sat"]
    assert pair.shares()[[0, 3]].tolist() == [[0, 0], [0, 0.5]]
    assert np.isnan(pair.shares()[1:3]).all()
    assert pair_panels.answer(pair, layer_id=1, layer="layer 1") == (
        "In layer 1 the two runs choose different experts for 1 (50%) of the 2 tokens that both "
        "have; in at least one of 2 layers for 1 (50%). For comparison: two different tokens "
        "choose different experts 100% of the time in layer 1 and 100% of the time in at least "
        "one layer."
    )
    assert pair_panels.context(pair).startswith(
        "Flips in at least one layer: 0 of the 1 token with which both begin, 1 of the 1 after the "
        "first difference."
    )


def test_the_table_of_a_pair() -> None:
    table = pair_table(of(CAT, DOG))
    assert table.dtypes[["position_first", "position_second"]].tolist() == ["Int64", "Int64"]
    assert table.position_first.fillna(-1).tolist() == [0, 0, 1, 1, -1, -1, 2, 2]
    assert table.position_second.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table.token_second.tolist()[::2] == ["the", " old", " dog", " sat"]
    assert table.layers_flipped.fillna(-1).tolist() == [0, 0, -1, -1, -1, -1, 1, 1]
    assert table.flipped.dropna().to_dict() == {0: False, 1: False, 6: False, 7: True}
    assert table.experts_first.tolist() == ["1 2", "3 4", "1 2", "3 4", "", "", "5 6", "7 8"]
    assert table.experts_second.tolist()[-2:] == ["6 5", "7 2"]
    assert table.layer_id.tolist() == [0, 1] * 4


def test_the_same_text_has_no_flip() -> None:
    pair = of(CAT, CAT)
    assert "different experts for 0 (0%) of the 3 tokens" in pair_panels.answer(
        pair, layer_id=0, layer="layer 0"
    )
    assert pair_panels.context(pair).startswith("Both runs have the same tokens.")


def test_texts_without_a_common_token_are_said_to_have_none() -> None:
    one, other = routing(["a"], [[[1], [1]]]), routing(["b"], [[[1], [1]]])
    pair = of(one, other)
    assert "no token in common" in pair_panels.answer(pair, layer_id=0, layer="layer 0")
    assert len(pair_table(pair)) == 2
    html = pair_panels.markup(pair, LIGHT, layer_id=0, layer="layer 0")
    assert [">a<" in html, ">b<" in html] == [True, True]
    assert "Colour" not in pair_panels.note(pair, "layer 0")
    assert pair_panels.context(pair) == ""


def test_a_token_alone_has_nothing_to_be_compared_with() -> None:
    one = routing(["a"], [[[1]]])
    pair = of(one, one, num_layers=1)
    answer = pair_panels.answer(pair, layer_id=0, layer="layer 0")
    assert answer.endswith("There is no different token to compare with.")
    assert "different tokens" not in pair_panels.every_layer(pair, LIGHT).note


def test_a_layer_in_which_one_token_chose_has_no_rate_of_different_ones() -> None:
    one = routing(["a", "b"], [[[1], [1]], [[NO_EXPERT], [2]]])
    pair = of(one.assign(token_id=[1, 1, 2, 2]), one.assign(token_id=[1, 1, 2, 2]))
    answer = pair_panels.answer(pair, layer_id=0, layer="layer 0")
    assert answer.endswith("different experts 100% of the time in at least one layer.")


def test_both_tokens_of_a_column_are_told() -> None:
    figure = pair_panels.every_layer(of(CAT, DOG), LIGHT).figure
    assert figure is not None
    hover = figure.data[0].text[0]
    assert hover[0].startswith("<b>the</b>")
    assert hover[1].startswith("<b> cat above,  old below</b>")
    assert hover[2].startswith("<b> dog</b>")


def test_texts_that_begin_alike_and_end_there() -> None:
    assert pair_panels.context(of(CAT[CAT.position < 1], DOG)).startswith(
        "Flips in at least one layer: 0 of the 1 token with which both begin. "
    )


def test_the_table_of_a_pair_is_made_once() -> None:
    pair = of(CAT, DOG)
    assert pair_panels.every_layer(pair, LIGHT).table is pair.table


def test_a_layer_in_which_nothing_was_chosen() -> None:
    one = routing(["a"], [[[NO_EXPERT], [1]]])
    pair = of(one, one)
    answer = pair_panels.answer(pair, layer_id=0, layer="layer 0")
    assert answer == "No token that both runs have chose an expert in layer 0."
    figure = pair_panels.every_layer(pair, LIGHT).figure
    assert figure is not None
    assert figure.layout.yaxis.ticktext == ("layer 0", "layer 1 · 0%")


def test_ids_tell_tokens_of_one_model_apart_and_texts_those_of_two() -> None:
    other = CAT.assign(token_id=8)
    assert not of(CAT, other).columns.same.any()
    two = of(CAT, other, one_model=False)
    assert two.columns.same.all()
    said = "Two models ran: experts of one number are the same only where"
    assert said in pair_panels.answer(two, layer_id=0, layer="layer 0")
    assert said not in pair_panels.answer(of(CAT, CAT), layer_id=0, layer="layer 0")


def test_special_tokens_are_no_words() -> None:
    one, other = routing(["<s>"], [[[1]]]), routing([""], [[[1]]]).assign(special="<s>")
    pair = of(one, other, num_layers=1)
    assert not pair.columns.same.any()
    assert pair.names("second") == ["<s>"]


def test_of_long_texts_the_beginning_is_compared() -> None:
    long = routing(["a"] * (MAX_TOKENS + 1), [[[1]]] * (MAX_TOKENS + 1))
    pair = of(long, CAT[CAT.layer_id == 0], num_layers=1)
    assert len(pair.texts["first"].frame) == MAX_TOKENS + 1  # with the gap
    said = f"Of the first run only the first {MAX_TOKENS:,} tokens are compared."
    assert said in pair_panels.context(pair)
    assert "Of the second run" not in pair_panels.context(pair)


def test_an_answer_about_parts_of_texts_says_so() -> None:
    for all_read, said in [(True, "both have; in"), (False, "both have in the parts that are")]:
        answer = pair_panels.answer(of(CAT, DOG), layer_id=0, layer="layer 0", all_read=all_read)
        assert said in answer
    long = routing(["a"] * (MAX_TOKENS + 1), [[[1]]] * (MAX_TOKENS + 1))
    answer = pair_panels.answer(of(long, long, num_layers=1), layer_id=0, layer="layer 0")
    assert "both have in the parts that are compared" in answer


def test_tokens_without_visible_text_are_explained_where_there_are_any() -> None:
    assert UNSEEN not in pair_panels.note(of(CAT, DOG), "layer 0")  # a gap is no token
    pair = of(routing([""], [[[1], [1]]]), DOG)
    assert pair_panels.note(pair, "layer 0").endswith(UNSEEN)
    assert UNSEEN in pair_panels.tokens_said(routing(["", "a"], [[[1]], [[2]]]))


def test_the_tokens_of_a_run_alone() -> None:
    one = routing([MARKUP, "\n", "x"], [[[1]], [[1]], [[1]]])
    html = pair_panels.tokens(one)
    assert html.count("<b>") == 3
    assert html.count("<i></i>") == 1
    assert "<a" not in html
    assert pair_panels.tokens_said(one) == "3 tokens."
    long = routing(["a"] * (MAX_TOKENS + 1), [[[1]]] * (MAX_TOKENS + 1))
    assert pair_panels.tokens_said(long) == "4,097 tokens. Shown are the first 4,096."
    assert pair_panels.tokens(long).count("<b>") == MAX_TOKENS


def test_flips_are_marked_and_gaps_are_left() -> None:
    html = pair_panels.markup(of(CAT, DOG), LIGHT, layer_id=1, layer="layer 1")
    kinds = [part.split('"')[0] for part in html.split('<span class="')[1:]]
    assert kinds == ["kept", "other", "other", "flip"]
    assert html.count("<b></b>") == 1
    assert 'title="layer 1: experts 7 8 above, 7 2 below"' in html


def test_lines_of_a_text_end_where_both_do() -> None:
    one = routing(["a", "\n"], [[[1]], [[1]]])
    html = pair_panels.markup(of(one, one, num_layers=1), LIGHT, layer_id=0, layer="layer 0")
    assert html.count("<i></i>") == 1
    assert "⏎" in html


def test_texts_of_a_pair_are_no_markup() -> None:
    one = routing([MARKUP], [[[1]]])
    pair = of(one, one, num_layers=1)
    assert "<a" not in pair_panels.markup(pair, LIGHT, layer_id=0, layer=MARKUP)
    figure = pair_panels.every_layer(pair, LIGHT).figure
    assert figure is not None
    assert "<a" not in figure.to_json()


def test_the_heatmap_hatches_what_is_not_compared() -> None:
    share_LC = np.array([[0.0, np.nan, 0.5]])
    figure = pair_figures.flip_heatmap(
        share_LC,
        LIGHT,
        layers=["layer 0"],
        tokens=[("a", "a"), ("b", "c"), ("d", "d")],
        same_C=np.array([True, False, True]),
        hover_LC=np.array([["x", "y", "z"]]),
    )
    assert figure.layout.xaxis.ticktext == ("a", "b/c", "d")
    assert figure.data[-1].x.tolist() == [1]
    assert figure.data[0].text.tolist() == [["x", "y", "z"]]
