"""What is selected, as a link says it."""

from hypothesis import given
from hypothesis import strategies as st

from app.views.shared.layer_names import NUMBERED, layer_names
from app.views.shared.selection import Selection, from_link, link

NUMBERS = st.integers(0, 10**9)
KINDS = layer_names([f"{side}.layers.{n}.mlp" for side in ("encoder", "decoder") for n in (0, 1)])


def some(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(values, max_size=3, unique=True).map(tuple)


SELECTIONS = st.builds(
    Selection,
    trace=st.text(st.characters(codec="utf-8"), max_size=9),
    layers=some(st.integers(0, 3)),
    experts=some(st.tuples(st.integers(0, 3), NUMBERS)),
    domains=some(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)),
    groups=some(NUMBERS),
    phase=st.sampled_from(["", "prefill", "decode"]),
    texts=some(NUMBERS),
    tokens=some(st.tuples(NUMBERS, NUMBERS)),
)


@given(SELECTIONS, st.sampled_from([NUMBERED, KINDS]))
def test_a_link_gives_back_what_it_was_made_of(selection: Selection, names: object) -> None:
    assert from_link(link(selection, names), names, 4) == (selection, [])  # type: ignore[arg-type]


def test_an_empty_selection_has_no_link() -> None:
    assert link(Selection(), NUMBERED) == {}


def test_layers_are_called_as_on_pages() -> None:
    written = link(Selection(layers=(2,), experts=((3, 5),)), KINDS)
    assert written == {"layer": ["decoder 0"], "expert": ["decoder 1:5"]}


def test_the_second_of_a_pair_alone_is_of_the_layer_or_text_that_is_named() -> None:
    selection, unknown = from_link(
        {"layer": ["3"], "expert": ["17"], "text": ["12"], "token": ["5"]}, NUMBERED, 4
    )
    assert (selection.experts, selection.tokens, unknown) == (((3, 17),), ((12, 5),), [])


def test_what_cannot_be_read_is_named_and_left_out() -> None:
    asked = {"layer": ["9", "1"], "expert": ["x:1", "-1"], "text": ["1e3"], "token": ["²:1"]}
    selection, unknown = from_link(asked, NUMBERED, 4)
    assert selection == Selection(layers=(1,))
    assert sorted(unknown) == ["expert -1", "expert x:1", "layer 9", "text 1e3", "token ²:1"]


def test_one_value_is_removed_or_the_whole_part() -> None:
    selection = Selection(domains=("math", "code"), phase="decode")
    assert selection.without("domains", "math").domains == ("code",)
    assert selection.without("domains").domains == ()
    assert selection.without("phase").phase == ""
