"""The map of page Domain clusters: what is sent to the browser, and what comes back in the link.

Eight tokens of the tiny trace lie on a line, the first five of them landmarks; clusters are the
documents. Texts are those of tests/traces.py.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import sidecars
from app.trace import Trace, open_trace
from app.views.domain_clusters import colours, token_values
from app.views.domain_clusters.brushed import brushed
from app.views.domain_clusters.chosen import chosen, marked
from app.views.domain_clusters.colours import OF, colours_parcel, many_colors
from app.views.domain_clusters.labels import labels
from app.views.domain_clusters.link import target
from app.views.domain_clusters.map_points import MapPoints, all_points
from app.views.domain_clusters.parcels import Parcel, chosen_parcel, packed, points_parcel
from app.views.shared.selection import Selection
from app.views.shared.theme import DARK, LIGHT
from app.workspace import trace_file
from data.sidecar import Sidecar, write_sidecar
from tests.app.pages import page, texts
from tests.traces import CHOICES_TLK, TOKENS

DOMAINS = ["math"] * 3 + ["code"] * 3 + ["unlabelled"] * 2
PARAMETERS = {
    "method": "umap",
    "seed": 0,
    "points": 8,
    "points_in_trace": 8,
    "groups": 3,
    "clusters": 3,
    "noise_share": 0.0,
    "agreement": None,
}
LEFT_HALF = "0000003uw0003uw7pr0007pr"  # of the map's square: to 4,999


def rows() -> pd.DataFrame:
    """In the order of the trace; as many domains among the landmarks would put them in another."""
    doc_id, position, _, text, *_ = zip(*TOKENS, strict=True)
    frame = pd.DataFrame({"doc_id": doc_id, "position": position, "domain": DOMAINS})
    frame = frame.assign(unit=frame.doc_id, text=text, cluster=frame.doc_id, distance=0.5)
    for layer_id in range(2):
        frame[f"expert_{layer_id}"] = CHOICES_TLK[:, layer_id, 0]
    return frame.assign(x=np.arange(8.0), y=0.0)


@pytest.fixture
def trace(tiny_trace: Path, tmp_path: Path) -> Trace:
    path = Path(shutil.copy(tiny_trace, tmp_path / "tiny.duckdb"))
    made = open_trace(trace_file(path))
    shuffled = rows().iloc[[7, 2, 0, 4, 5, 1, 3, 6]]
    landmarks, rest = shuffled.head(5), shuffled.tail(3).drop(columns=["expert_0", "expert_1"])
    write_sidecar(path, sidecars.TOKENS, landmarks, PARAMETERS, of=made.info, rest=rest)
    return made


@pytest.fixture
def points(trace: Trace) -> MapPoints:
    return mapped(trace, "tokens")


def mapped(trace: Trace, what: str) -> MapPoints:
    stored = trace.beside(sidecars.MAPS[what])
    assert isinstance(stored, Sidecar)
    return all_points(trace, what, stored)


def unpacked(parcel: Parcel) -> dict[str, Any]:
    """As the browser reads it."""
    length = int.from_bytes(parcel.data[:4], "little")
    told = json.loads(parcel.data[4 : 4 + length])
    at = 4 + length
    for name, kind, count in told["arrays"]:
        size = int(kind[1:]) * count
        told[name] = np.frombuffer(parcel.data[at : at + size], f"<{kind}").tolist()
        at += -(-size // 4) * 4
    return told


def test_a_parcel_is_read_as_it_was_packed_and_named_by_its_contents() -> None:
    arrays: dict[str, np.ndarray] = {
        "a": np.array([1, 2, 3], np.uint8),
        "b": np.array([70_000], np.uint32),
    }
    parcel = packed("points", {"word": "é"}, arrays)
    told = unpacked(parcel)
    assert (told["a"], told["b"], told["word"]) == ([1, 2, 3], [70_000], "é")
    assert parcel == packed("points", {"word": "é"}, arrays)
    assert parcel.id != packed("points", {"word": "e"}, arrays).id


def test_all_points_are_sent_in_the_order_of_their_texts(points: MapPoints, trace: Trace) -> None:
    told = unpacked(points_parcel(trace, points))
    assert [told["words"][word] for word in told["text"]] == [text for _, _, _, text, *_ in TOKENS]
    assert told["x"] == np.rint(np.arange(8) / 7 * 65_535).tolist()
    assert (told["run_start"], told["run_doc"], told["run_position"]) == (
        [0, 3, 6],
        [0, 1, 2],
        [0, 0, 0],
    )
    assert [told["domains"][domain] for domain in told["run_domain"]] == DOMAINS[::3]
    assert points.landmark_M.tolist() == [7, 2, 0, 4, 5]


def test_the_map_of_today_replaces_that_of_yesterday(trace: Trace, points: MapPoints) -> None:
    moved = rows().assign(x=0.0)
    write_sidecar(trace.path, sidecars.TOKENS, moved, PARAMETERS, of=trace.info)
    assert len(np.unique(mapped(trace, "tokens").places_2P)) == 1
    assert len(np.unique(points.places_2P[0])) == 8


@pytest.mark.parametrize(
    ("by", "entries"),
    [
        ("domain", {"math": 3, "code": 3, "unlabelled": 2}),
        ("cluster", {"cluster 0": 3, "cluster 1": 3, "cluster 2": 2}),
        ("group", {"group of text 0": 3, "group of text 1": 3, "group of text 2": 2}),
        ("expert", {"expert 0": 4, "expert 1": 1, "expert 2": 3}),
        ("phase", {"prefill": 7, "decode": 1}),
    ],
)
def test_a_colour_counts_its_points(
    trace: Trace, points: MapPoints, by: str, entries: dict[str, int]
) -> None:
    told = unpacked(colours_parcel(trace, points, by, 1, LIGHT))
    counts = {entry["name"]: entry["count"] for entry in told["entries"] if entry["count"]}
    assert counts == entries
    assert len(told["code"]) == 8
    assert len(told["colours"]) == len(told["entries"])


def test_an_amount_that_is_unknown_has_a_colour_of_its_own(trace: Trace, points: MapPoints) -> None:
    told = unpacked(colours_parcel(trace, points, "loss", 0, DARK))
    assert [code == told["steps"] for code in told["code"]] == [loss is None for *_, loss in TOKENS]
    assert told["code"][7] == told["steps"] - 1  # 4 nats are the most
    assert told["colours"][told["steps"]] == DARK.neutral
    entropy = unpacked(colours_parcel(trace, points, "entropy", 1, DARK))
    assert entropy["low"] == entropy["high"] == pytest.approx(0.5)


def test_first_choices_are_those_of_the_layer(trace: Trace, points: MapPoints) -> None:
    assert token_values.experts(trace, points, 0).tolist() == CHOICES_TLK[:, 0, 0].tolist()
    assert token_values.experts(trace, points, 1).tolist() == CHOICES_TLK[:, 1, 0].tolist()


def test_of_a_part_of_the_texts_only_these_are_asked_for(trace: Trace) -> None:
    some = rows().iloc[[1, 2, 7]]
    write_sidecar(trace.path, sidecars.TOKENS, some, PARAMETERS | {"points": 3}, of=trace.info)
    few = mapped(trace, "tokens")
    assert few.doc_ids == [0, 2]
    assert token_values.experts(trace, few, 1).tolist() == [0, 0, 1]
    assert token_values.losses(trace, few).tolist() == [2, 1, 4]


def test_a_cluster_of_experts_without_a_domain_is_called_by_what_it_has_more_of(
    trace: Trace,
) -> None:
    experts = pd.DataFrame({"layer_id": 0, "expert_id": range(4), "x": 0.0, "y": 0.0})
    experts = experts.assign(tokens=1, distance=0.1, cluster=[0, 0, 0, 1])
    experts = experts.assign(domain=["none", "none", "code", "math"])
    write_sidecar(trace.path, sidecars.EXPERTS, experts, PARAMETERS, of=trace.info)
    named = [label["words"] for label in labels(trace, mapped(trace, "experts"))]
    assert named == [["code", "33%"], ["math", "100%"]]


def test_many_groups_are_in_colour_and_the_rest_is_named(
    trace: Trace, points: MapPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colours, "LISTED", 2)
    told = unpacked(colours_parcel(trace, points, "group", 0, DARK))
    assert told["title"] == "group: the 2 largest, others grey"
    assert {one["name"]: one["count"] for one in told["entries"]}["other groups"] == 2


def test_prompts_and_experts_have_all_their_colours(trace: Trace) -> None:
    place = {"x": [0.0, 1, 2], "y": [0.0, 1, 2], "cluster": [0, 1, 0], "distance": 0.1}
    prompts = pd.DataFrame({"doc_id": [0, 1, 2], "domain": DOMAINS[::3], **place})
    prompts = prompts.assign(group=None, unit=[0, 1, 2], origin="", tokens=[3, 3, 2], text="a")
    write_sidecar(trace.path, sidecars.PROMPTS, prompts, PARAMETERS, of=trace.info)
    experts = pd.DataFrame({"layer_id": [0, 0, 1], "expert_id": [0, 1, 3], **place})
    experts = experts.assign(tokens=[5, 8, 4], domain=["math", "none", "code"])
    write_sidecar(trace.path, sidecars.EXPERTS, experts, PARAMETERS, of=trace.info)
    for what in ("prompts", "experts"):
        of = mapped(trace, what)
        told = {by: unpacked(colours_parcel(trace, of, by, 1, LIGHT)) for by in OF[what]}
        assert all(len(one["code"]) == 3 for one in told.values())
    assert unpacked(points_parcel(trace, of))["details"][:2] == [
        "prefers math, 5 choices",
        "8 choices",
    ]
    assert [label["words"] for label in labels(trace, of)] == [["math", "50%"], ["no domain"]]
    assert target(of, 2) == ("specialization", {"layers": (1,), "experts": ((1, 3),)})


def test_many_colours_differ() -> None:
    for palette in (LIGHT, DARK):
        colors = many_colors(64, palette)
        assert colors[: len(palette.distinct)] == list(palette.distinct)
        assert len(set(colors)) == 64


@pytest.mark.parametrize(
    ("selection", "rows_found"),
    [
        (Selection(), None),
        (Selection(domains=("code",)), [3, 4, 5]),
        (Selection(experts=((1, 1),)), [0, 1, 2, 7]),  # the second choice of three
        (Selection(experts=((1, 3), (0, 2))), [3, 4, 5, 7]),
        (Selection(groups=(2,), phase="decode"), [7]),
        (Selection(tokens=((1, 2),)), [3, 4, 5]),  # the text of the token; the token is marked
        (Selection(layers=(1,)), None),
    ],
)
def test_the_points_of_the_selection_stand_out(
    trace: Trace, points: MapPoints, selection: Selection, rows_found: list[int] | None
) -> None:
    found = chosen(trace, points, selection, area="", cluster=None)
    some = None if found.standing_out is None else np.flatnonzero(found.standing_out).tolist()
    assert some == rows_found
    bits = unpacked(chosen_parcel(found.standing_out)).get("bits")
    assert bits == (None if some is None else [sum(1 << row for row in some)])


def test_an_area_and_a_cluster_are_taken_together_and_compared_within_the_selection(
    trace: Trace, points: MapPoints
) -> None:
    found = chosen(trace, points, Selection(), area=LEFT_HALF, cluster=1)
    assert found.standing_out is not None
    assert np.flatnonzero(found.standing_out).tolist() == [3]  # x = 0, 1, 2, 3 are on the left
    both = chosen(trace, points, Selection(domains=("code",)), area=LEFT_HALF, cluster=None)
    assert both.compared is not None
    inside_P, among_P = both.compared
    assert np.flatnonzero(inside_P).tolist() == [3]
    assert np.flatnonzero(among_P).tolist() == [3, 4, 5]


def test_the_token_of_the_selection_is_marked(points: MapPoints) -> None:
    assert marked(points, Selection(tokens=((1, 2),))) == 5
    assert marked(points, Selection(tokens=((9, 0),))) == -1
    assert marked(points, Selection()) == -1


def test_a_click_leads_to_the_token_in_its_text(points: MapPoints) -> None:
    assert target(points, 5) == ("prompts", {"texts": (1,), "tokens": ((1, 2),)})


def many_points(trace: Trace) -> MapPoints:
    """Each of the tokens of 60 texts 20 times over: word 1 is twice as frequent on the left."""
    doc_id, place = np.divmod(np.arange(1200), 20)
    left = place < 10
    word = np.where(left, place % 5 < 2, place % 5 < 1).astype(int)
    frame = pd.DataFrame({"doc_id": doc_id, "position": place, "unit": doc_id, "cluster": 0})
    frame["domain"] = np.where(doc_id % 2, "math", "code")
    frame["text"] = np.where(word, "![a](http://evil.test)", "<b>")
    frame = frame.astype({"domain": "category", "text": "category"})
    frame["distance"] = 0.0
    landmarks = frame.assign(expert_0=word, expert_1=-1)
    places = np.stack([np.where(left, 10, 50_000), place]).astype(np.uint16)
    return MapPoints("tokens", frame, places, np.arange(1200), landmarks, PARAMETERS, "many points")


def test_words_and_experts_that_are_more_frequent_in_an_area_are_found(trace: Trace) -> None:
    of = many_points(trace)
    inside_P, among_P = of.places_2P[0] < 100, np.ones(1200, dtype=bool)
    found = brushed(trace, of, inside_P, among_P, Selection())
    words, experts = found.tables["words"], found.tables["experts"]
    assert words.text[0] == "![a](http://evil.test)"  # shown as it is, in a table
    assert words.ratio[0] == pytest.approx(2, rel=0.01)
    assert (words.doc_id[0], words.position[0]) == (0, 0)
    assert experts[["layer_id", "expert_id"]].iloc[0].tolist() == [0, 1]
    assert set(experts.layer_id) == {0}  # in layer 1 no expert ran
    assert found.tables["domains"].ratio.tolist() == pytest.approx([1, 1])
    named = brushed(trace, of, inside_P, among_P, Selection(experts=((0, 1),), domains=("math",)))
    assert named.tables["domains"].domain.tolist() == ["code"]
    assert named.tables["experts"].expert_id.tolist() == [0]


def test_all_points_or_none_are_compared_with_nothing(trace: Trace) -> None:
    of, all_P = many_points(trace), np.ones(1200, dtype=bool)
    assert brushed(trace, of, all_P, all_P, Selection()).tables == {}
    assert brushed(trace, of, ~all_P, all_P, Selection()).tables == {}


@pytest.fixture
def shown(trace: Trace, traces: Path) -> Path:
    for path in trace.path.parent.glob("tiny.*"):
        shutil.copy(path, traces)
    return traces


def answer(app: AppTest) -> str:
    assert not app.exception
    return texts(app)


def test_a_link_restores_the_area_and_the_cluster(shown: Path) -> None:
    app = page("domain_clusters", area=LEFT_HALF, cluster="1", colour="expert")
    assert "1 of 8 tokens: code 100%." in answer(app)
    assert app.selectbox(key="cluster").value == 1
    assert app.query_params["area"] == LEFT_HALF
    app.selectbox(key="cluster").set_value(None).run()
    assert "4 of 8 tokens: math 75%, code 25%." in answer(app)


def test_the_map_is_saved_by_the_menu_of_figures(shown: Path) -> None:
    app = page("domain_clusters")
    menus = [
        json.loads(element.proto.json)
        for element in app.get("bidi_component")
        if element.proto.component_name == "routescope_figure_menu"
    ]
    assert [(menu["chart"], menu["file"]) for menu in menus] == [("map", "tiny-map_of_tokens")]
    assert list(menus[0]["images"]) == ["Paper column", "Slide"]


def test_an_area_of_all_points_has_nothing_to_be_compared_with(shown: Path) -> None:
    app = page("domain_clusters", area="0000007pr0007pr7pr0007pr")
    assert "8 of 8 tokens" in answer(app)
    assert "No other points are left to compare these with." in answer(app)


def test_other_points_have_no_area_of_these(shown: Path) -> None:
    app = page("domain_clusters", area=LEFT_HALF, cluster="1")
    app.segmented_control(key="points").set_value("prompts").run()
    assert not app.exception
    assert "area" not in app.query_params
    app.segmented_control(key="points").set_value("tokens").run()
    assert "8 tokens fall into 3 clusters" in answer(app)


@pytest.mark.parametrize("area", ["<script>", "zzz" * 6, "000000"])
def test_an_area_that_is_none_is_left_out(shown: Path, area: str) -> None:
    app = page("domain_clusters", area=area)
    assert "8 tokens fall into 3 clusters" in answer(app)
    assert any(r"asks for area\=" in info.value for info in app.info)
    assert "area" not in app.query_params


def test_the_selection_of_other_pages_stands_out(shown: Path) -> None:
    assert "3 of 8 tokens: code 100%." in answer(page("domain_clusters", domain="code"))
