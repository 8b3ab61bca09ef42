"""The page Search: what it finds, where it leads, and what it says where there is nothing."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis import word_rows
from analysis.word_experts import COLUMNS
from app import stored, workspace
from app.commands.index import index
from app.studies import search, word_index
from app.trace import Trace, open_trace
from app.views.search import found, panels
from app.views.search.figures import word_heatmap, word_text
from app.views.search.within import Within
from app.views.shared.theme import LIGHT
from tests.app.markup import MARKUP
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted, written
from tests.uneven import write_uneven_trace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "uneven.duckdb"
    write_uneven_trace(path)
    return path


@pytest.fixture
def uneven(made: Path, traces: Path) -> Trace:
    return open_trace(workspace.trace_file(Path(shutil.copy(made, traces))))


@pytest.fixture
def tiny_page(traces: Path, tiny_trace: Path) -> Path:
    return Path(shutil.copy(tiny_trace, traces / "tiny.duckdb"))


def headings(app: AppTest) -> list[str]:
    return [element.value for element in app.subheader]


def linked(app: AppTest, name: str) -> str:
    """What the address has; a list where a test gave it."""
    value = app.query_params[name]
    return value[0] if isinstance(value, list) else value


def clicked(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_without_a_search_the_page_has_examples_that_find_something(uneven: Trace) -> None:
    app = page("search")
    examples = [button.label for button in app.button if str(button.key).startswith("example_")]
    assert examples[0] == "def"
    assert examples[1] == r"encoder 0\:0"
    assert examples[2] == "math"
    app = clicked(app, "def")
    assert linked(app, "q") == "def"
    assert "“def” occurs" in texts(app)


def test_a_word_has_its_experts_by_layer_its_contexts_and_its_domains(tiny_page: Path) -> None:
    app = page("search", q="1")
    assert headings(app) == ["Text 1", "Token", "Texts"]
    assert app.selectbox(key="word").options == ["␣1 · 2", "1 · 1"]
    assert "“␣1” occurs 2 times in 2 texts. That is too little to say" in texts(app)
    word = found.word(open_trace(workspace.trace_file(tiny_page)), " 1")
    assert (word.tokens, word.documents, word.read_tokens, word.read_documents) == (2, 2, 2, 2)
    first = word.experts[word.experts.layer_id == 0]
    assert first.tokens.tolist() == [1, 2, 1, 0]
    assert first["lift"].tolist()[:3] == [1 / 4 / (5 / 16), 2 / 4 / (8 / 16), 1 / 4 / (3 / 16)]
    assert word.domains.domain.tolist() == ["math", "code"]
    assert word.domains.per_thousand.tolist() == pytest.approx([1000 / 3] * 2)
    assert word.contexts.before.tolist() == ["1 +", "x ="]


def test_another_of_the_words_found_is_chosen_and_stays_in_the_link(tiny_page: Path) -> None:
    app = page("search", q="1")
    app = app.selectbox(key="word").select("1").run()
    assert "“1” occurs once in 1 text." in texts(app)
    assert linked(app, "word") == "1"
    assert "“1” occurs once" in texts(page("search", q="1", word="1"))
    gone = page("search", q="1", word="=")  # not among those found
    assert "“␣1” occurs" in texts(gone)
    assert "word" not in gone.query_params


def test_an_expert_leads_to_its_card_and_a_text_to_its_tokens(tiny_page: Path) -> None:
    app = page("search", q="0:2")
    assert headings(app) == ["Expert 2 of layer 0"]
    assert "3 choices, 0.75× the layer&#x27;s mean" in texts(app)  # 3 of 16 among four
    card = clicked(app, "Open its card")
    assert linked(card, "expert") == "0:2"
    assert "Expert 2 of layer 0" in headings(card)
    app = page("search", q="#2")
    assert headings(app) == ["Text 2"]
    text = clicked(app, "Read it token by token")
    assert linked(text, "text") == "2"
    assert text.selectbox(key="text").value == 2
    assert "It is dead: never chosen" in texts(page("search", q="0:3"))


def test_a_domain_has_its_specialists_and_can_be_selected(uneven: Trace) -> None:
    app = page("search", q="CODE")
    assert headings(app)[0] == "Domain code"
    assert [m.value for m in app.markdown if m.value.startswith("**Specialists of code")]
    table = panels.domain_panel(uneven, "code").preview
    assert table is not None
    assert {(1, 7), (0, 3)} <= set(zip(table.layer_id, table.expert_id, strict=True))
    assert (table.domain == "code").all()
    selected = clicked(app, "Select this domain")
    assert linked(selected, "domain") == "code"


def test_a_phrase_is_found_with_its_domains(tiny_page: Path) -> None:
    app = page("search", q="X = ")
    assert headings(app) == ["Texts"]
    assert "“X =” is in 1 of 3 texts." in texts(app)
    phrase = found.phrase(open_trace(workspace.trace_file(tiny_page)), "(?i)x")
    assert phrase.documents == 2
    assert phrase.domains.to_dict("list") == {
        "domain": ["code", "unlabelled"],
        "n_documents": [1, 1],
        "of_texts": [1, 1],
    }
    assert phrase.texts.doc_id.tolist() == [1, 2]
    assert phrase.texts.position.tolist() == [0, 1]


def test_a_regular_expression_is_asked_for(tiny_page: Path) -> None:
    app = page("search", q="^[a-z] =", regex="true")
    assert "An expression matches in 1 of 3 texts." in texts(app)
    assert headings(app) == ["Texts"]
    found_words = page("search", q="^.1$", regex="true")
    assert headings(found_words) == ["Token"]
    assert "“␣1” occurs 2 times" in texts(found_words)
    wrong = page("search", q="a(b", regex="true")
    assert not wrong.exception
    assert [error.value.replace("\\", "") for error in wrong.error] == [
        "This is no regular expression: missing ): a(b."
    ]


@pytest.mark.parametrize(
    "q", [MARKUP, "' OR 1=1 --", "\x00", "%s {0} $1", "*" * 1_001, "\\", "9" * 400, "3:99", "#999"]
)
def test_whatever_is_typed_is_answered_in_a_line(q: str, tiny_page: Path) -> None:
    app = page("search", q=q)
    assert not app.exception
    said = [*app.info, *app.error]
    assert len(said) == 1
    assert "<b>" not in said[0].value
    assert said[0].value.endswith((r"\.", r"”\."))
    assert len(said[0].value) < 400


@pytest.mark.parametrize("q", [r"\C", r"\\\C", "(" * 999, "*", r"(a)\1", "a{1001}", "", r"x|"])
def test_an_expression_that_cannot_be_searched_for_is_refused(q: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression|single byte") as refused:
        search.pattern_of(q, regex=True)
    assert len(str(refused.value)) < 150


def test_an_expression_takes_no_more_time_than_a_text_has_characters(tiny_page: Path) -> None:
    """By backtracking this one would take 2^1000 steps."""
    assert search.pattern_of(r"\\C", regex=True)  # a backslash and a C
    with open_trace(workspace.trace_file(tiny_page)).cursor() as con:
        slow = con.execute("SELECT regexp_matches(repeat('a', 1000) || '!', '(a+)+$')").fetchall()
    assert slow == [(False,)]
    assert not page("search", q="(a+)+$", regex="true").exception


def test_domains_are_found_whatever_their_names() -> None:
    domains = ["  pad", "<b>x</b>", "a|b", "3:1", "数学"]
    for name in domains:
        assert search.domains_named(search.asked_text(name), domains) == [name]


def test_traces_that_lack_something_say_so_in_a_line(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    written(traces / "nameless.duckdb", with_ids=False)
    written(traces / "ids.duckdb", domains=("math",) * 12)
    counts = page("search", trace="counts", q="the")
    assert "counts choices and names no token" in texts(counts)
    assert "This trace does not have its texts" in texts(counts)
    assert headings(page("search", trace="counts", q="0:1")) == ["Expert 1 of layer 0"]
    assert "neither the texts nor the ids" in texts(page("search", trace="nameless", q="the"))
    ids = page("search", trace="ids", q="#7")
    assert headings(ids) == ["Text 7", "Token"]
    assert "“#7” occurs 12 times in 12 texts." in texts(ids)
    one = page("search", trace="ids", q="math")
    assert "All texts belong to one domain" in texts(one)
    for app in (counts, ids, one):
        assert not app.exception


@pytest.mark.parametrize("name", ["no_labels", "varying_k", "one_expert", "dead_layer", "ids_only"])
def test_incomplete_traces_answer(name: str, incomplete_traces: Path) -> None:
    trace = open_trace(workspace.trace_file(incomplete_traces / f"{name}.duckdb"))
    with trace.cursor() as con:
        usual = str(word_rows.token_texts(con).text.iloc[0])
    app = page("search", trace=name, q=usual)
    assert not app.exception
    assert "Token" in headings(app)
    assert "nan" not in words(app).lower().replace("dominan", "")


def test_with_an_index_a_word_is_what_it_is_without(
    uneven: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = found.word(uneven, " the")
    monkeypatch.setattr(word_index, "DOCUMENTS", 1)
    index(uneven.path)
    with_index = found.word(uneven, " the")
    assert found._indexed(uneven, " the") is not None
    assert without.tested
    pd.testing.assert_frame_equal(with_index.experts, without.experts)
    assert with_index.read_documents == without.documents == with_index.documents
    found_again = found.words(uneven, "the", regex=False)
    assert found_again[["text", "tokens"]].iloc[0].tolist() == [" the", without.tokens]


def test_a_sample_is_said_to_be_one_and_an_index_reads_all(
    uneven: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_index, "READ", 100)
    app = page("search", q="the")
    word = found.word(uneven, " the")
    assert word.read_documents < word.documents
    assert f"Experts: read {word.read_tokens:,} of its {word.tokens:,} occurrences" in texts(app)
    index(uneven.path)
    assert "Experts: read" not in texts(page("search", q="the"))


def test_what_is_selected_is_searched_and_all_texts_are_a_click_away(tiny_page: Path) -> None:
    app = page("search", q="1", domain="code")
    assert "Tokens and phrases: in the 1 selected of 3 texts." in texts(app)
    assert "“␣1” occurs once in 1 text." in texts(app)  # and "1" nowhere, so there is no choice
    assert "“1” is in 1 of 1 text." in texts(app)
    assert not {str(button.key) for button in app.button if "_unused" in str(button.key)}
    everywhere = app.button(key="search_all").click().run()
    assert "domain" not in everywhere.query_params
    assert "“␣1” occurs 2 times in 2 texts." in texts(everywhere)
    nothing = page("search", q="hi", domain="code")
    assert nothing.info[0].value.startswith("Nothing in the selected texts is called")
    assert headings(page("search", q="#2", domain="code")) == ["Text 2"]  # a number is a name


def test_texts_of_all_that_is_selected_are_searched(uneven: Trace) -> None:
    code = Within(domains=("code",))
    assert code.doc_ids(uneven) == list(range(1, 36, 3))
    assert Within(domains=("code", "math"), groups=(1, 3, 5)).doc_ids(uneven) == [1, 3]
    assert Within(domains=("code",), texts=(1, 2)).doc_ids(uneven) == [1]
    assert Within(texts=(1,), groups=(2,)).doc_ids(uneven) == []
    app = page("search", q="the", domain="code", text="0")
    assert not app.exception
    assert "No text is in all that is selected" in texts(app)


def test_a_word_of_a_domain_is_compared_with_the_loads_of_that_domain(uneven: Trace) -> None:
    """Every token of code prefers expert 7 of layer 1, whatever its word."""
    everywhere, code = (found.word(uneven, " the", Within(domains=of)) for of in ((), ("code",)))
    assert set(code.domains.domain) == {"code"}
    assert code.documents == code.domains.n_documents.sum() <= 12
    row = code.experts[(code.experts.layer_id == 1) & (code.experts.expert_id == 7)].iloc[0]
    load_LE = np.nan_to_num(stored.expert_tokens(uneven, "code"))
    assert row.load == pytest.approx(load_LE[1, 7] / load_LE[1].sum())
    assert row.load > everywhere.experts[everywhere.experts.expert_id == 7].load.iloc[0]
    words = found.words(uneven, "the", regex=False, within=Within(domains=("code",)))
    assert words.tokens.tolist() == [code.tokens]
    assert set(code.contexts.domain) == {"code"}


def test_examples_are_of_the_selected_texts(uneven: Trace) -> None:
    app = page("search", text="4")
    beginning = [button.label for button in app.button if str(button.key) == "example_3"]
    assert len(beginning) == 1
    found_again = page("search", q=beginning[0].replace("\\", ""), text="4")
    assert "is in 1 of 1 text." in texts(found_again)


def rows() -> pd.DataFrame:
    """Expert 0 is preferred, 1 avoided, 2 not tested, 3 never chosen by anything."""
    values = [
        (0, 0, 30, 0.6, 0.2, 10.0, 3.0, 2.0, 4.0, 1e-6, 4e-6, 20, ""),
        (0, 1, 0, 0.0, 0.5, 25.0, 0.0, 0.0, 0.2, 1e-6, 4e-6, 20, ""),
        (0, 2, 20, 0.4, 0.3, 4.0, 5.0, np.nan, np.nan, np.nan, np.nan, 20, "fewer than 5"),
        (0, 3, 0, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan, np.nan, np.nan, 20, "never chosen"),
    ]
    return pd.DataFrame(values, columns=list(COLUMNS))


def test_the_heatmap_has_a_colour_a_dot_or_a_hatch() -> None:
    figure = word_heatmap(rows(), LIGHT, experts_L=np.array([4]))
    heatmap, _, hatched, dots = figure.data
    assert heatmap.z[0, 0] == np.log2(3)
    assert heatmap.z[0, 1] == -4  # not minus infinity
    assert np.isnan(heatmap.z[0, 2:]).all()
    assert list(hatched.x) == [2]
    assert list(dots.x) == [0, 1]
    alone = word_heatmap(rows(), LIGHT, experts_L=np.array([4]), only_sure=True)
    assert np.isfinite(alone.data[0].z[0]).tolist() == [True, True, False, False]


def test_a_cell_says_all_that_is_known_of_it() -> None:
    first, _, untested, never = (word_text(row) for row in rows().itertuples())
    assert first == (
        "layer 0, expert 0<br><b>3.00×</b> (2.00\N{EN DASH}4.00×), by its load 1×<br>"
        "p < 0.0001, q < 0.0001<br>30 choices, 10.0 expected"
    )
    assert untested.endswith("20 choices, 4.0 expected<br><i>fewer than 5</i>")
    assert "×" not in never


def test_the_experts_listed_are_those_furthest_above_their_loads() -> None:
    assert panels.listed(rows()).expert_id.tolist() == [0, 2]
