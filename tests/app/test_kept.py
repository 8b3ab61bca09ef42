"""Captures that keep a sample of the texts, or some layers, and what their traces say."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kept import KEPT, Kept, KeptLayers, Layers, Sample, in_words, layer_numbers, spans
from data.new_trace import TraceDescription
from data.routing import Document, LayerDescription, RoutingBatch

DOMAINS = [("math", 60), ("code", 30), (None, 9), ("long", 1)]


def documents(strata: list[tuple[str | None, int]] = DOMAINS) -> list[Document]:
    domains = [domain for domain, number in strata for _ in range(number)]
    return [Document(doc_id=n, text="x", domain=one) for n, one in enumerate(domains)]


def drawn(text: str, *, seed: int = 0) -> Counter[str | None]:
    kept = Sample(text).doc_ids(documents(), seed=seed)
    return Counter(one.domain for one in documents() if one.doc_id in kept)


def test_a_share_is_kept_of_every_domain_and_of_each_at_least_one() -> None:
    assert drawn("0.1") == {"math": 6, "code": 3, None: 1, "long": 1}


def test_a_count_is_shared_out_in_proportion() -> None:
    assert drawn("50") == {"math": 30, "code": 15, None: 5}  # 4.5 and 0.5: the first of equals
    assert sum(drawn("33").values()) == 33
    assert drawn("100") == dict(DOMAINS)


def test_a_seed_draws_the_same_and_another_others() -> None:
    one, same, other = (Sample("0.2").doc_ids(documents(), seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_more_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="--sample is 101, and there are 100 prompts"):
        Sample("101").doc_ids(documents(), seed=0)


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=6), data=st.data())
def test_a_count_is_met_and_no_domain_is_far_from_its_part(sizes: list[int], data: Any) -> None:
    total = sum(sizes)
    wanted = data.draw(st.integers(1, total))
    texts = documents([(f"domain {place}", size) for place, size in enumerate(sizes)])
    kept = Sample(str(wanted)).doc_ids(texts, seed=0)
    found = Counter(one.domain for one in texts if one.doc_id in kept)
    assert sum(found.values()) == len(kept) == wanted
    for place, size in enumerate(sizes):
        assert abs(found[f"domain {place}"] - wanted * size / total) < 1


@given(st.sets(st.integers(0, 200), min_size=1))
def test_layers_read_back_as_they_are_said(numbers: set[int]) -> None:
    said = spans(sorted(numbers)).split(" ", 1)[1]
    text = said.replace(" and ", ",").replace(", ", ",").replace(" to ", "-")
    assert Layers(text).numbers == sorted(numbers)


def test_layers_are_said_in_spans() -> None:
    assert spans([3]) == "layer 3"
    assert spans([0, 10, 20, 21, 22, 23]) == "layers 0, 10 and 20 to 23"
    assert spans([0, 1]) == "layers 0 and 1"


def layer(number: int, top_k: int) -> LayerDescription:
    return LayerDescription(
        name=f"layers.{number}.mlp",
        num_experts=4,
        num_shared_experts=0,
        top_k=top_k,
        scoring="softmax",
        weighting="scores",
        selection="scores",
    )


def described(*top_ks: int) -> TraceDescription:
    layers = tuple(layer(number, top_k) for number, top_k in enumerate(top_ks))
    return TraceDescription(
        name="t",
        source="routescope",
        model_name="m",
        model_sha256="",
        tokenizer="bytes",
        layers=layers,
        seed=None,
        config={"capture": {"device": "cpu"}},
    )


def test_a_description_says_what_is_kept_and_layers_keep_their_names() -> None:
    kept = Kept(sample=Sample("0.5"), layers=Layers("0,2"), seed=3)
    found = kept.described(described(2, 1, 2), documents=5, of_documents=10)
    assert [one.name for one in found.layers] == ["layers.0.mlp", "layers.2.mlp"]
    assert found.config["capture"] == {
        "device": "cpu",
        KEPT: {
            "texts": {"sample": "0.5", "seed": 3, "kept": 5, "of": 10},
            "layers": {"kept": [0, 2], "of": 3},
        },
    }
    assert layer_numbers(found.config, 2) == (0, 2)
    sample, layers = in_words(found.config, 2)
    assert "5 of 10 texts, drawn from each domain in proportion (seed 3)" in sample
    assert "layers 0 and 2 of the 3 MoE layers" in layers
    assert Kept().described(described(1), documents=1, of_documents=1) == described(1)


def test_all_texts_and_all_layers_are_no_part() -> None:
    kept = Kept(sample=Sample("10"), layers=Layers("0-2"))
    assert kept.described(described(2, 1, 2), documents=10, of_documents=10) == described(2, 1, 2)


def test_a_layer_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 3, and the model has 3 MoE layers: 0 to 2"):
        Kept(layers=Layers("1,3")).described(described(1, 1, 1), documents=1, of_documents=1)


class Taken(list[RoutingBatch]):
    def write(self, batch: RoutingBatch) -> None:
        self.append(batch)


def test_a_sink_hands_on_the_choices_of_its_layers_alone() -> None:
    ids_TLK = np.array([[[0, 1], [2, -1], [3, 0]]], np.int16)
    batch = RoutingBatch.of(
        doc_id_T=np.zeros(1, int),
        position_T=np.zeros(1, int),
        expert_ids_TLK=ids_TLK,
        weights_TLK=np.array([[[0.6, 0.4], [1, 0], [0.7, 0.3]]]),
    )
    gates: dict[str, Any] = {name: np.array([[1.0, 2, 3]]) for name in ("entropy_TL", "margin_TL")}
    taken = Taken()
    sink = KeptLayers(taken, [1], 1)
    whole = replace(batch, **gates)
    sink.write(whole)
    sink.write(whole)
    assert taken[0] is taken[1]  # so that a store writes it once
    assert taken[0].expert_ids_TLK.tolist() == [[[2]]]  # as many as that layer chooses
    assert taken[0].weights_TLK.tolist() == [[[1]]]
    assert taken[0].entropy_TL is not None
    assert taken[0].entropy_TL.tolist() == [[2.0]]
    assert taken[0].dropped_ids_TLK is None


@pytest.mark.parametrize(
    "said",
    [
        None,
        3,
        {"layers": [1]},
        {"layers": {"kept": [1, "x"], "of": 3}},
        {"layers": {"kept": [2, 1], "of": 3}},
        {"layers": {"kept": [1], "of": 3}},
        {"layers": {"kept": [True, 2], "of": 3}},
        {"texts": {"kept": "all", "of": 3, "seed": 0}},
        {"texts": {"kept": -1, "of": 3, "seed": 0}},
    ],
)
def test_what_a_stranger_wrote_is_not_repeated(said: object) -> None:
    config = {"capture": {KEPT: said}}
    assert in_words(config, 2) == []
    assert layer_numbers(config, 2) is None


def test_a_merged_trace_says_what_any_of_its_captures_left_out() -> None:
    part = {KEPT: {"texts": {"sample": "5", "seed": 0, "kept": 5, "of": 9}}}
    assert len(in_words({"capture": {}, "merged": [{}, part, part]}, 2)) == 1
