"""What the tokens of the page Prompts are coloured by."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis.expert_clusters import NO_CLUSTER, Clusters
from app import workspace
from app.trace import Trace, open_trace
from app.views.prompts import colour_by, meanings, panels, token_strip
from app.views.prompts.meaning import NO_ENTRY
from app.views.prompts.meanings import CLUSTER, DOMAIN, ENTROPY, EXPERT, LOSS, Layer
from app.views.shared.theme import DARK, LIGHT
from data.routing import NO_EXPERT, Document
from data.store import TraceStore
from tests.app.pages import page, texts
from tests.routing_batches import batch_of, description

LAYER = Layer(0, "layer 0", (64, 64), "the trace t")
WORDS = ("the", " of", "")  # of token ids 0, 1 and 2


def rows(experts: list[int], **columns: Any) -> pd.DataFrame:
    """First choices of one text in layer 0."""
    known: dict[str, Any] = {"entropy": 1.0, "loss": 2.0, "text": "a", "special": None}
    known["position"] = range(len(experts))
    return pd.DataFrame({"layer_id": 0, "expert_id": experts} | known | columns)


def write_words(path: Path, *, texts: int = 8, tokens: int = 240, domains: str = "") -> None:
    """12 experts in layers 0 and 1: in layer 0, id v of WORDS chooses two of 4 v to 4 v + 3, and
    texts of domain b avoid experts 0 to 2; in layer 1 any two. Without probabilities."""
    rng = np.random.default_rng(0)
    with TraceStore.create(path, description(experts=12)) as store:
        for doc_id in range(texts):
            token_id_T = rng.integers(3, size=tokens)
            domain = domains[doc_id % len(domains)] if domains else None
            ids_TLK = rng.random((tokens, 2, 12)).argsort(-1)[..., :2]
            first = 2 if domain == "b" else 0
            own_T2 = np.array([rng.permutation(np.arange(first, 4))[:2] for _ in range(tokens)])
            ids_TLK[:, 0] = own_T2 + 4 * token_id_T[:, None]
            batch = batch_of([doc_id] * tokens, ids_TLK)
            store.write(
                replace(
                    batch,
                    token_id_T=token_id_T.astype(np.uint32),
                    token_text_T=[WORDS[token_id] for token_id in token_id_T],
                    entropy_TL=None,
                    margin_TL=None,
                    documents=(Document(doc_id=doc_id, text=f"text {doc_id}", domain=domain),),
                )
            )


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.duckdb"
    write_words(path)
    return path


def opened(path: Path) -> Trace:
    return open_trace(workspace.trace_file(path))


def test_the_most_used_experts_have_colours_and_the_rest_share_one() -> None:
    used = [expert for expert in range(9) for _ in range(9 - expert)]  # 9 times 0, ... once 8
    here = rows([*used, NO_EXPERT])
    colours = meanings.by_expert(here, LIGHT, LAYER)
    names = [entry.name for entry in colours.entries]
    assert names == [*(f"expert {expert}" for expert in range(7)), "other experts"]
    assert colours.colors(rows([0, 6, 7, 8])) == [
        LIGHT.distinct[0],
        LIGHT.distinct[6],
        LIGHT.neutral,
        LIGHT.neutral,
    ]
    shares = [entry["share"] for entry in token_strip.legend(here, colours)["entries"]]
    assert shares == ["20%", "17%", "15%", "13%", "11%", "9%", "7%", "7%"]  # of 46 tokens
    elsewhere = rows([0]).assign(layer_id=1)
    assert colours.colors(elsewhere) == [LIGHT.neutral]  # another expert 0


def test_a_tie_is_for_the_lower_expert() -> None:
    colours = meanings.by_expert(rows([5, 3, 5, 3]), LIGHT, LAYER)
    assert [entry.name for entry in colours.entries] == ["expert 3", "expert 5"]


def test_one_expert_without_a_colour_of_its_own_is_named() -> None:
    assert meanings.by_expert(rows([*range(8)]), LIGHT, LAYER).entries[-1].detail == "expert 7"
    assert meanings.by_expert(rows([*range(9)]), LIGHT, LAYER).entries[-1].detail == "2 experts"


def test_clusters_are_named_after_their_most_typical_tokens() -> None:
    cluster_E = np.full(64, NO_CLUSTER)
    cluster_E[:9] = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    texts = [" the", "the", "", "\n", "extraordinarily long", "of", "in"]
    typical = pd.DataFrame({"cluster": [0, 0, 0, 0, 0, 1, 1], "text": texts})
    here = rows([0, 2, 3, 9, NO_EXPERT])
    colours = meanings.by_cluster(here, LIGHT, LAYER, Clusters(cluster_E, typical, 0.5))
    assert [entry.words for entry in colours.entries] == [("the", "∅", "⏎"), ("of", "in"), (), ()]
    assert colours.values(here) == [
        "cluster 1: the ∅ ⏎",
        "cluster 1: the ∅ ⏎",
        "cluster 2: of in",
        "too little data",
        "",
    ]
    assert colours.colors(here)[3:] == [LIGHT.neutral, LIGHT.neutral]
    assert colours.answer == (
        "The cluster of experts that is chosen most often is cluster 1 (40% of the tokens), "
        "typical of “the”, “∅”, “⏎”."
    )
    assert "adjusted Rand index 0.50" in colours.note


def test_a_layer_without_clusters_says_why() -> None:
    nothing = np.full(64, NO_CLUSTER)
    found = Clusters(nothing, pd.DataFrame(), reason="there is one group of texts only")
    colours = meanings.by_cluster(rows([0]), LIGHT, LAYER, found)
    assert colours.note.endswith("because there is one group of texts only.")
    assert colours.entries == ()
    assert colours.colors(rows([0])) == [LIGHT.neutral]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_entropy_is_on_a_scale_to_that_of_equal_experts(palette: meanings.Palette) -> None:
    here = rows([1, 1, 1, 1], entropy=[0.0, np.log(64), np.log(64) + 0.001, np.nan])
    colours = meanings.by_entropy(here, palette, LAYER)
    low, high = palette.sequential[0], palette.sequential[-1]
    assert colours.colors(here) == [low, high, high, palette.neutral]
    assert list(colours.ticks) == ["0", "2.1", "ln 64 = 4.16"]
    assert colours.places(here).tolist() == [NO_ENTRY, NO_ENTRY, NO_ENTRY, 0]
    assert [entry["share"] for entry in token_strip.legend(here, colours)["entries"]] == ["25%"]
    assert token_strip.chips(here, colours)["values"][2:] == [
        "gate entropy 4.16 nats",
        "gate entropy unknown",
    ]


def test_each_layer_has_the_entropy_of_its_own_equal_experts() -> None:
    layer = Layer(1, "decoder 0", (4, 8), "the trace t")
    here = rows([0, 0, NO_EXPERT], entropy=np.log([4, 4, 2])).assign(layer_id=[0, 1, 0])
    colours = meanings.by_entropy(here, LIGHT, layer)
    assert colours.numbers(here).tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert colours.axis()["cmax"] == 1
    assert colours.colors(here)[0] == LIGHT.sequential[-1]
    assert colours.values(here) == pytest.approx(np.log([4, 4, 2]).tolist())
    assert list(colours.ticks) == ["0", "1.0", "ln 8 = 2.08"]
    assert "the gate in decoder 0" in colours.note
    assert "Every layer has a scale of its own" in colours.note


def test_clusters_are_of_the_experts_that_the_layer_has() -> None:
    layer = Layer(0, "encoder 0", (3, 8), "the trace t")
    typical = pd.DataFrame({"cluster": [0, 1], "text": ["the", "of"]})
    here = rows([0, 2])
    colours = meanings.by_cluster(here, LIGHT, layer, Clusters(np.array([0, 1, 1]), typical, 0.5))
    assert colours.entry_LE.tolist() == [[0, 1, 1, *[NO_ENTRY] * 5], [NO_ENTRY] * 8]
    assert [entry.detail for entry in colours.entries] == [
        "cluster 1 · expert 0",
        "cluster 2 · experts 1, 2",
    ]
    assert "Experts of encoder 0 that are chosen" in colours.note


def test_one_surprising_token_does_not_take_the_scale_of_losses() -> None:
    loss = [np.nan, *np.linspace(0, 4, 99), 40.0]
    here = rows([1] * 101, loss=loss)
    colours = meanings.by_loss(here, LIGHT)
    assert list(colours.ticks) == ["0", "2", "≥ 4"]  # 95 % are below 3.9
    assert colours.colors(here)[0] == LIGHT.neutral
    assert colours.colors(here)[-1] == LIGHT.sequential[-1]


def test_what_a_trace_does_not_hold_is_named() -> None:
    here = rows([1, 2], entropy=np.nan, loss=np.nan)
    for colours in (meanings.by_entropy(here, LIGHT, LAYER), meanings.by_loss(here, LIGHT)):
        assert colours.note.startswith("No colour: ")
        assert colours.answer == ""
        legend = token_strip.legend(here, colours)
        assert legend["ramp"] == []
        assert [(one["name"], one["share"]) for one in legend["entries"]] == [("unknown", "100%")]


@pytest.mark.slow
def test_a_trace_without_domains_is_coloured_by_cluster(words: Path) -> None:
    trace = opened(words)
    assert colour_by.suggested(trace, 0) == CLUSTER
    assert colour_by.suggested(trace, 1) == EXPERT  # its experts do not follow the tokens
    strip, every_layer, path = panels.panels(trace, LIGHT)
    assert strip.table.coloured_by.unique().tolist() == [CLUSTER]
    names = strip.table.groupby("token_id")["value"].unique().map(list)
    assert [len(of_id) for of_id in names] == [1, 1, 1]
    assert [of_id[0].split(": ")[1] for of_id in names] == ["the", "of", "∅"]
    assert "∅: a token without visible text, such as" in strip.note
    assert "Colour: the weight" in every_layer.note
    assert "Coloured: those of layer 0." in path.note


@pytest.mark.slow
def test_a_layer_with_an_expert_of_a_domain_is_coloured_by_domain(tmp_path: Path) -> None:
    write_words(tmp_path / "ab.duckdb", domains="ab")
    trace = opened(tmp_path / "ab.duckdb")
    assert [colour_by.suggested(trace, layer_id) for layer_id in (0, 1)] == [DOMAIN, EXPERT]
    table = panels.panels(trace, LIGHT)[0].table
    assert set(table["value"][table.expert_id < 2]) == {"a"}
    by_layer_1 = panels.panels(trace, LIGHT, layer_id=1, by=DOMAIN)[0]
    assert by_layer_1.note.startswith(
        "No colour: in the trace ab no expert of layer 1 prefers a domain."
    )


@pytest.mark.parametrize("by", colour_by.CHOICES)
def test_the_file_has_what_is_coloured(by: str, tiny_trace: Path) -> None:
    table = panels.panels(opened(tiny_trace), LIGHT, by=by)[0].table
    assert table.coloured_by.tolist() == [by] * 3
    expected = {
        DOMAIN: ["too little data"] * 3,
        EXPERT: ["expert 0"] * 3,
        CLUSTER: [""] * 3,
        ENTROPY: [1.0] * 3,
        LOSS: [None, 2.0, 1.0],
    }[by]
    known = table["value"].astype(object).where(table["value"].notna(), None)
    assert known.tolist() == expected


@pytest.mark.slow
def test_a_token_that_chose_nothing_keeps_its_place(tmp_path: Path) -> None:
    ids_TLK = np.array([[[1, 2], [3, -1]], [[-1, -1], [4, 5]], [[6, 7], [-1, -1]]])
    with TraceStore.create(tmp_path / "gaps.duckdb", description(top_k=None)) as store:
        store.write(batch_of([0, 0, 0], ids_TLK))
    trace = opened(tmp_path / "gaps.duckdb")
    for by in colour_by.CHOICES:
        strip, every_layer, path = panels.panels(trace, LIGHT, token=1, by=by)
        assert strip.table.text.tolist() == ["t0", "t1", "t2"]
        assert every_layer.table.expert_id.tolist() == [1, 3, NO_EXPERT, 4, 6, NO_EXPERT]
        assert path.table.expert_id.tolist() == [NO_EXPERT, 4, 5]
    here = panels.of_layer(panels.text_routing(trace, 0), 0)
    colours = meanings.by_expert(here, LIGHT, Layer(0, "layer 0", (8, 8), "t"))
    assert token_strip.chips(here, colours)["experts"] == ["1", "", "6"]
    assert token_strip.chips(here, colours)["places"] == [0, NO_ENTRY, 1]
    assert panels.chosen(panels.text_routing(trace, 0), layer_id=0) == [2, 0, 2]


@pytest.mark.slow
def test_the_page_follows_the_layer_until_somebody_chooses(traces: Path, words: Path) -> None:
    (traces / "words.duckdb").write_bytes(words.read_bytes())
    app = page("prompts")
    assert not app.exception
    assert chosen(app) == CLUSTER
    assert "The cluster of experts that is chosen most often" in texts(app)
    app.segmented_control(key="layer").set_value(1).run()
    assert chosen(app) == EXPERT
    app.segmented_control(key="colour_by").set_value(ENTROPY).run()
    app.segmented_control(key="layer").set_value(0).run()
    assert not app.exception
    assert chosen(app) == ENTROPY
    assert "the choices of the gate and not its probabilities" in texts(app)


@pytest.mark.slow
@pytest.mark.parametrize(("linked", "found"), [(LOSS, LOSS), ("shape", CLUSTER)])
def test_a_link_says_what_to_colour_by(linked: str, found: str, traces: Path, words: Path) -> None:
    (traces / "words.duckdb").write_bytes(words.read_bytes())
    app = page("prompts", colour_by=linked)
    assert not app.exception
    assert chosen(app) == found


def chosen(app: AppTest) -> object:
    return app.segmented_control(key="colour_by").value


def test_all_domains_that_tie_are_named_and_that_most_experts_prefer_none() -> None:
    label_LE = np.full((2, 64), -1)  # none
    label_LE[0, :2] = [0, 1]
    here = rows([0, 1, 2, 3])
    colours = meanings.by_domain(here, LIGHT, LAYER, label_LE, domains=["multilingual", "other"])
    assert colours.answer == (
        "The domains that these experts prefer most often are multilingual and other (25% of the "
        "tokens each); 50% of the tokens are with experts that prefer none."
    )
    single = meanings.by_domain(rows([0]), LIGHT, LAYER, label_LE, domains=["a", "b"])
    assert single.answer.endswith("most often is a (100% of the tokens).")


def test_one_token_is_singular() -> None:
    here = rows([5]).assign(weight=1.0, dropped=False)
    said = panels._answer(here, meanings.by_expert(here, LIGHT, LAYER), layer="layer 0")
    assert said == "In layer 0, the first choice of the one token falls on expert 5."
