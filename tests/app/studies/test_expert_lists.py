"""Lists of experts of traces on disk."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.redundancy import CLOSED
from app.studies import exports
from app.studies.expert_lists.cost import leaders_of, require_model
from app.studies.expert_lists.making import make
from app.studies.expert_lists.output import json_bytes
from app.studies.expert_lists.subject import KINDS, ExpertList, Kind, Settings, Subject
from data.routing import Document, RoutingBatch
from data.store import TraceStore, open_trace
from model import fingerprint
from tests.app.sparse_traces import counted, written
from tests.routing_batches import batch_of, description, layer
from tests.uneven import write_uneven_trace

TOKENS, EXPERTS = 40, 8
RARE, OF_CODE, DRIFTING = 0, 5, 3


def document(doc_id: int, *, drift: float = 1.0) -> RoutingBatch:
    """Of math or code by turns. Expert 0 is rare, expert 5 of code, expert 3 drifts."""
    rng = np.random.default_rng(doc_id)
    domain = ("math", "code")[doc_id % 2]
    share_E = np.ones(EXPERTS)
    share_E[RARE] = 0.1
    share_E[OF_CODE] = 6 if domain == "code" else 0.5
    share_E[DRIFTING] = drift
    ids_TLK = np.empty((TOKENS, 2, 2), int)
    for layer_id in range(2):
        key_TE = np.log(rng.dirichlet(80 * share_E)) + rng.gumbel(size=(TOKENS, EXPERTS))
        ids_TLK[:, layer_id] = np.argsort(-key_TE, -1)[:, :2]
    batch = batch_of([doc_id] * TOKENS, ids_TLK)
    told = Document(doc_id=doc_id, text=f"text {doc_id}", domain=domain, origin="test")
    weights_TLK = np.tile(np.array([0.75, 0.25], np.float32), (TOKENS, 2, 1))
    return replace(batch, documents=(told,), weights_TLK=weights_TLK)


def write(path: Path, *, documents: int = 40, later: float = 1.0) -> Path:
    """The drifting expert has so many times its load in the later half."""
    with TraceStore.create(path, description(layers=2, experts=EXPERTS, top_k=2)) as store:
        for doc_id in range(documents):
            drift = later if doc_id >= documents // 2 else 1.0
            store.write(document(doc_id, drift=drift))
    return path


def file(found: ExpertList, form: str) -> Any:
    """What is written for another tool."""
    return found.files[form]


def made(path: Path, kind: Kind, **settings: Any) -> ExpertList:
    with open_trace(path) as con:
        return make(Subject(con), Settings(kind=kind, **settings))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lists") / "trace.duckdb")


def test_a_rare_expert_is_pruned_first_and_costs_less_than_chance(trace: Path) -> None:
    found = made(trace, "prune", keep=7)
    assert found.listed[["layer_id", "expert_id"]].to_numpy().tolist() == [[0, 0], [1, 0]]
    assert found.listed.sure.tolist() == [1, 1]
    whole = found.measured.iloc[0]
    assert whole["name"] == "all"
    assert whole.high < whole.chance == 1 / 8
    assert whole.estimate == pytest.approx(whole.bound)
    assert found.files["llmcompressor"] == {"0": list(range(1, 8)), "1": list(range(1, 8))}
    assert "100% in common" in found.notes[0]


def test_by_weight_the_sums_of_weights_decide(trace: Path) -> None:
    found = made(trace, "prune", keep=7, by="weight")
    assert found.listed.expert_id.tolist() == [0, 0]
    assert "weight" in found.answer


def test_the_specialist_of_a_domain_is_its_target_and_no_other_domains(trace: Path) -> None:
    code, math = (made(trace, "tune", domain=domain, top_p=0.2) for domain in ("code", "math"))
    assert file(code, "esft")["experts"] == {"0": [5], "1": [5]}
    assert re.fullmatch(file(code, "peft"), "layers.1.experts.5.gate_proj")
    assert not re.fullmatch(file(code, "peft"), "layers.1.experts.4.gate_proj")
    assert 5 not in set(math.listed.expert_id)
    own, other = code.measured.to_dict("records")
    assert (own["name"], other["name"]) == ("code", "math")
    assert own["low"] > 2 * own["chance"]
    assert other["high"] < other["chance"]
    (common, _) = code.more["targets_in_common"].in_common
    assert common == 0


def test_a_rare_expert_is_said_to_need_more_text(trace: Path) -> None:
    found = made(trace, "quantize", needed=100)
    assert found.listed.expert_id.tolist() == [0, 0]
    assert file(found, "groups")["0"] == {"0": "rare"} | dict.fromkeys("1234567", "ordinary")
    rare = found.measured.set_index("name").loc["rare"]
    assert rare.chance == 1 / 8
    assert rare.high < 1 / 8
    assert "this trace has 1,600" in found.answer


def test_the_drifting_expert_is_on_the_watch_list_and_a_steady_trace_has_none(
    trace: Path, tmp_path: Path
) -> None:
    drifting = write(tmp_path / "drifting.duckdb", later=4.0)
    found = made(drifting, "watch", window=400)
    assert set(found.experts.expert_id[:2]) == {DRIFTING}
    assert found.experts.listed[:2].all()
    assert "expert 3" in found.answer
    assert not len(made(trace, "watch").listed)
    alarms = file(found, "alarms")
    assert (alarms["window_tokens"], alarms["false_alarms"]) == (400, 0.05)
    of_expert = alarms["experts"]["0"]["3"]
    assert of_expert["lower"] < of_expert["expected"] < of_expert["upper"]


def test_a_domain_that_is_left_out_does_not_make_the_others_unsure(tmp_path: Path) -> None:
    path = tmp_path / "lone.duckdb"
    with TraceStore.create(path, description(layers=2, experts=EXPERTS, top_k=2)) as store:
        for doc_id in range(40):
            store.write(document(doc_id))
        alone = Document(doc_id=40, text="a text", domain="law", origin="test")
        store.write(replace(document(40), documents=(alone,)))
    notes = made(path, "watch").notes
    assert "Left out, with one group of texts each: law." in notes
    assert not any(note.startswith("Not enough") for note in notes)


def test_two_traces_of_one_shape_are_two_periods(trace: Path, tmp_path: Path) -> None:
    later = write(tmp_path / "later.duckdb", documents=41, later=4.0)
    with open_trace(trace) as con, open_trace(later) as con_later:
        found = make(Subject(con), Settings(kind="watch"), later=Subject(con_later))
    assert set(found.experts.expert_id[:2]) == {DRIFTING}
    assert found.notes[0].startswith("Before: 40 groups; after: 41 groups.")


def test_two_traces_of_different_shapes_are_refused(trace: Path, tmp_path: Path) -> None:
    write_uneven_trace(tmp_path / "uneven.duckdb")
    with open_trace(trace) as con, open_trace(tmp_path / "uneven.duckdb") as con_later:
        subject, later = Subject(con), Subject(con_later)
        with pytest.raises(ValueError, match="2 layers of 8 experts and uneven 3 layers of 4 to 8"):
            make(subject, Settings(kind="watch"), later=later)


def test_every_list_is_made_of_layers_with_different_numbers_of_experts(tmp_path: Path) -> None:
    write_uneven_trace(tmp_path / "uneven.duckdb")
    keep = {"prune": 3, "merge": 3}
    for kind in KINDS:
        found = made(tmp_path / "uneven.duckdb", kind, keep=keep.get(kind))
        assert found.files, found.unwritten
        assert not found.listed_LE[0, 4:].any()
        assert np.isnan(found.value_LE[0, 4:]).all()
    pruned = made(tmp_path / "uneven.duckdb", "prune", keep=3)
    assert pruned.listed_LE.sum(-1).tolist() == [1, 5, 3]


@pytest.mark.parametrize("keep", [1, 8, 9])
@pytest.mark.parametrize("kind", ["prune", "merge"])
def test_as_many_as_there_are_or_fewer_than_a_token_chooses_cannot_be_kept(
    trace: Path, kind: Kind, keep: int
) -> None:
    with pytest.raises(ValueError, match=f"cannot keep {keep} and lose some; give 2 to 7"):
        made(trace, kind, keep=keep)


def test_where_a_token_chooses_every_expert_none_can_go(tmp_path: Path) -> None:
    written(tmp_path / "all.duckdb", experts=2, top_k=2)
    with pytest.raises(ValueError, match="every expert is needed"):
        made(tmp_path / "all.duckdb", "prune")


def test_a_trace_of_counts_has_lists_but_of_words(tmp_path: Path) -> None:
    counted(tmp_path / "counts.duckdb", top_k=2)
    assert made(tmp_path / "counts.duckdb", "prune", keep=3).listed.expert_id.tolist() == [3, 3]
    answer = made(tmp_path / "counts.duckdb", "quantize").answer
    assert "besides the 2 never chosen; this trace has 48" in answer  # 12 texts of 8 choices, k = 2
    with pytest.raises(ValueError, match="names no token"):
        made(tmp_path / "counts.duckdb", "merge")


def test_without_weights_no_list_can_be_by_weight(tmp_path: Path) -> None:
    written(tmp_path / "ids.duckdb")
    with pytest.raises(ValueError, match="weights of the trace are unknown"):
        made(tmp_path / "ids.duckdb", "prune", by="weight")
    with pytest.raises(ValueError, match="weights of the trace are unknown"):
        made(tmp_path / "ids.duckdb", "tune", score="gate")


def test_one_domain_has_targets_of_which_it_cannot_be_said_that_they_are_special(
    tmp_path: Path,
) -> None:
    written(tmp_path / "ids.duckdb")
    found = made(tmp_path / "ids.duckdb", "tune")
    assert len(found.measured) == 1
    assert any("one domain" in note for note in found.notes)


def test_a_domain_of_one_group_is_measured_by_other_domains_alone(tmp_path: Path) -> None:
    written(tmp_path / "ids.duckdb", domains=("math", "code", "code"))
    found = made(tmp_path / "ids.duckdb", "tune", domain="math")
    assert "in texts that selected them" in found.answer
    assert "No other group of texts" in found.notes[0]
    assert found.measured["name"].tolist() == ["math", "code"]
    assert found.experts.sure.isna().all()
    assert found.value_LE[found.listed_LE].tolist() == [1.0] * len(found.listed)


@pytest.mark.parametrize("only_counts", [False, True])
def test_of_one_group_lists_are_made_and_said_to_be_measured_by_itself(
    tmp_path: Path, *, only_counts: bool
) -> None:
    path = tmp_path / "one.duckdb"
    if only_counts:
        counted(path, top_k=2, domains=("math",))
    else:
        written(path, domains=("math",))
    made_of_one: tuple[Kind, ...] = ("prune", "tune")
    refused: tuple[Kind, ...] = ("merge", "watch")
    for kind in made_of_one:
        found = made(path, kind, keep=3 if kind == "prune" else None)
        assert len(found.listed)
        assert not found.by_others
        assert "No other group of texts" in found.notes[0]
    covered = made(path, "quantize", needed=10**6)
    assert len(covered.listed) == len(covered.experts)
    assert covered.experts.sure.isna().all()
    for kind in refused:
        with pytest.raises(ValueError, match=r"the list to prune|a later trace"):
            made(path, kind, keep=3 if kind == "merge" else None)


@pytest.mark.parametrize("top_p", [0.2, 0.5])
def test_both_exports_for_esft_of_one_domain_are_the_same(tmp_path: Path, top_p: float) -> None:
    """Also where the weights of a token add up to less than 1."""
    path = tmp_path / "code.duckdb"
    with TraceStore.create(path, description(layers=2, experts=EXPERTS, top_k=2)) as store:
        for doc_id in range(1, 40, 2):
            batch = document(doc_id)
            store.write(replace(batch, weights_TLK=batch.weights_TLK * 0.4))
    out = tmp_path / "esft.json"
    with open_trace(path) as con:
        settings = exports.Settings(score="gate", top_p=top_p)
        exports.named("esft").write(exports.Subject(con, settings), out)
    assert json.loads(out.read_text()) == file(
        made(path, "tune", score="gate", top_p=top_p), "esft"
    )


def test_targets_elsewhere_are_measured_as_the_chosen_domain_is(trace: Path) -> None:
    code = made(trace, "tune", domain="code", top_p=0.3)
    table = code.more["targets_by_domain"].set_index("domain")
    own, other = code.measured.to_dict("records")
    assert table.elsewhere["code"] == pytest.approx(other["estimate"])
    assert table.estimate["code"] == pytest.approx(own["estimate"])
    assert table.high["code"] == pytest.approx(own["high"])


def test_layers_without_names_of_modules_have_no_file_for_peft(tmp_path: Path) -> None:
    path = tmp_path / "imported.duckdb"
    told = description(layers=1, experts=EXPERTS, top_k=2)
    with TraceStore.create(path, replace(told, layers=(layer("layer 0", EXPERTS),))) as store:
        for doc_id in range(20):
            batch = document(doc_id)
            one = batch_of([doc_id] * TOKENS, batch.expert_ids_TLK[:, :1])
            store.write(replace(one, documents=batch.documents))
    found = made(path, "tune")
    assert set(found.files) == {"esft"}
    assert "'layer 0' is no name of a module" in found.unwritten
    assert json_bytes(found, "esft")
    with pytest.raises(ValueError, match="no name of a module"):
        json_bytes(found, "peft")


def test_domains_of_one_text_are_in_no_period_and_said_so(tmp_path: Path) -> None:
    written(tmp_path / "one.duckdb", domains=("law", "code", "code"))
    notes = made(tmp_path / "one.duckdb", "watch").notes
    assert "Left out, with one group of texts each: law." in notes
    written(tmp_path / "none.duckdb", domains=("law", "code"))
    with pytest.raises(ValueError, match="no domain has two groups of texts"):
        made(tmp_path / "none.duckdb", "watch")


def test_halves_too_small_to_find_pairs_are_said_to_be(tmp_path: Path) -> None:
    """Each expert has 100 choices of all texts, and one at most has them of half."""
    path = tmp_path / "short.duckdb"
    with TraceStore.create(path, description(layers=2, experts=EXPERTS, top_k=2)) as store:
        for doc_id in range(12):
            batch = document(doc_id)
            words = (batch.expert_ids_TLK[:, 0, 0] // 2).astype(np.uint32)  # of two experts each
            store.write(replace(batch, token_id_T=words))
    found = made(path, "merge", keep=4)
    assert 0 < len(found.listed) < 8
    assert "Asked for were 8: no others can be called alike." in found.answer
    assert "too small to say whether other texts would find them" in found.answer
    assert found.listed.sure.isna().all()


def test_a_trace_of_some_layers_is_refused_before_its_model_is_read(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "model_sha256", lambda folder: "0" * 64)
    monkeypatch.setattr(fingerprint, "is_transformers", lambda folder: False)
    with open_trace(trace) as con:
        require_model(Subject(con), tmp_path)
    path = tmp_path / "some.duckdb"
    told = description(layers=2, experts=EXPERTS, top_k=2)
    capture = {"kept": {"layers": {"kept": [1, 2], "of": 4}}}
    told = replace(told, config={"capture": capture})
    with TraceStore.create(path, told) as store:
        store.write(document(0))
    with open_trace(path) as con, pytest.raises(ValueError, match=r"holds .* alone"):
        require_model(Subject(con), tmp_path)


def test_an_unknown_domain_is_refused(trace: Path) -> None:
    with pytest.raises(ValueError, match="there are math, code"):
        made(trace, "tune", domain="law")


def test_dropped_experts_run_nobodys_weights_and_pairs_those_of_the_busier_one(
    trace: Path,
) -> None:
    with open_trace(trace) as con:
        subject = Subject(con)
        tokens_LE = subject.tokens_NLE.sum(0)
        pruned = make(subject, Settings(kind="prune", keep=7))
    assert leaders_of(pruned, tokens_LE)[0].tolist() == [CLOSED, 1, 2, 3, 4, 5, 6, 7]
    pairs = replace(
        pruned,
        settings=Settings(kind="merge"),
        experts=pruned.experts[:1].assign(layer_id=0, expert_a=0, expert_b=5),
    )
    assert leaders_of(pairs, tokens_LE)[0].tolist() == [5, 1, 2, 3, 4, 5, 6, 7]
