"""Two traces of choices that are known, compared."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.matching.experts import UNMATCHED
from app.parts import open_part
from app.studies.compared import Renaming, compare
from app.studies.comparing import compared, names, side_of, subjects
from app.studies.sides import Side
from data.routing import Document
from data.store import TraceStore
from tests.app.sparse_traces import counted
from tests.matched import Text, write_texts
from tests.routing_batches import batch_of, description
from tests.traces import write_choices, write_empty_trace, write_tiny_trace

TEXTS, TOKENS, EXPERTS = 40, 12, 8  # of a trace; of a text; of two layers


def choices(*, seed: int, towards: int | None = None) -> np.ndarray:
    """Two of eight experts a token and layer; `towards`: that of every other token in layer 0."""
    rng = np.random.default_rng(seed)
    order_TLE = rng.random((TEXTS * TOKENS, 2, EXPERTS))
    if towards is not None:
        order_TLE[::2, 0, towards] = -1
    return order_TLE.argsort(-1)[..., :2]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator["Opened"]:
    with ExitStack() as stack:
        yield Opened(tmp_path, stack)


class Opened:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def side(self, name: str, ids_TLK: np.ndarray, **options: object) -> Side:
        path = self._folder / f"{name}.duckdb"
        document_T = np.repeat(np.arange(TEXTS), TOKENS)
        write_choices(path, ids_TLK, document_T, **({"num_experts": EXPERTS} | options))
        return self.part(path, "")

    def part(self, path: Path, part: str) -> Side:
        return side_of(self._stack.enter_context(open_part(path, part)), path, path.stem + part)


def test_texts_that_both_have_are_compared_pair_by_pair(opened: Opened) -> None:
    found = compare(opened.side("a", choices(seed=0)), opened.side("b", choices(seed=1, towards=5)))
    assert found.paired
    assert found.num_groups == (TEXTS, TEXTS)
    assert found.in_words() == "Both have 40 groups of the same texts, compared pair by pair."
    assert found.loads is not None
    sure = found.loads[found.loads.q < 0.05]
    first = sure.sort_values("estimate").iloc[-1]
    assert (first.layer_id, first.expert_id) == (0, 5)
    assert set(sure.layer_id) == {0}


def test_routers_that_do_not_differ_are_not_said_to(opened: Opened) -> None:
    found = compare(opened.side("a", choices(seed=2)), opened.side("b", choices(seed=3)))
    assert found.loads is not None
    assert not (found.loads.q < 0.05).any()
    assert found.figures is not None
    assert not (found.figures.q < 0.05).any()
    k = found.per_token[found.per_token.figure == "experts per token"]
    assert (k["first"] == 2).all()
    assert (k.estimate == 0).all()
    assert set(found.per_token.figure) == {
        "experts per token",
        "entropy of the gate",
        "margin of the gate",
    }


def test_other_texts_are_two_samples(opened: Opened, tmp_path: Path) -> None:
    first = opened.side("a", choices(seed=0))
    write_tiny_trace(tmp_path / "tiny.duckdb", num_experts=EXPERTS)
    second = opened.part(tmp_path / "tiny.duckdb", "")
    found = compare(first, second)
    assert not found.paired
    assert found.in_words() == (
        "Texts differ: 40 groups against 3, two independent samples. 1 group is in both, and taken "
        "for independent all the same."
    )
    assert found.lifts is None  # no domain of one is one of the other


def test_texts_that_one_of_both_lacks_are_counted_on_both_sides(opened: Opened) -> None:
    both = opened.side("a", choices(seed=0)), opened.side("b", choices(seed=1))
    found = replace(compare(*both), of_groups=(42, 45))
    assert found.in_words().endswith("; 7 that only one of the two has are left out.")


@pytest.mark.parametrize(
    ("tokenizer", "pieces", "known"),
    [
        ("test", ["a", "b", "c", "d"], True),
        ("other", ["abcd"], False),
        ("other", ["<s>", "abcd"], True),
    ],
)
def test_loss_a_token_is_compared_where_tokens_are_as_long(
    opened: Opened, tmp_path: Path, tokenizer: str, pieces: list[str], *, known: bool
) -> None:
    """Texts of three tokens, and of four, one and two."""
    sides = []
    for name, of, by in (("a", ["a", "b", "cd"], "test"), ("b", pieces, tokenizer)):
        text = Text(pieces=of, text="abcd", nats=1.0)
        write_texts(tmp_path / f"{name}.duckdb", [text] * 12, tokenizer=by)
        sides.append(opened.part(tmp_path / f"{name}.duckdb", ""))
    found = compare(*sides)
    assert ("loss" in set(found.per_token.figure)) == known
    assert any("tokenizers differ" in line for line in found.lacking) == (not known)


def test_parts_of_a_trace_with_the_same_texts_are_pairs(opened: Opened, tmp_path: Path) -> None:
    """Of the tiny trace one text has tokens of both phases."""
    path = tmp_path / "tiny.duckdb"
    write_tiny_trace(path)
    found = compare(opened.part(path, "phase:prefill"), opened.part(path, "phase:decode"))
    assert (found.num_common, found.of_groups) == (1, (3, 1))
    assert not found.paired  # less than half of the first's groups


def test_models_of_different_shapes_have_figures_and_no_differences_of_experts(
    opened: Opened,
) -> None:
    few = choices(seed=1) % 4
    few[..., 1] = (few[..., 0] + 1) % 4
    found = compare(opened.side("a", choices(seed=0)), opened.side("b", few, num_experts=4))
    assert found.loads is None
    assert found.lifts is None
    assert found.figures is not None
    assert found.lacking == [
        "8 experts in layer 0 against 4: no expert of one is an expert of the other, so loads and "
        "lifts are not subtracted"
    ]
    one_layer = opened.side("c", choices(seed=1)[:, :1])
    found = compare(opened.side("d", choices(seed=0)), one_layer)
    assert found.figures is None
    assert found.lacking[0].startswith("2 MoE layers against 1")
    assert not found.per_token.empty


def test_renamed_experts_are_compared_with_those_they_correspond_to(opened: Opened) -> None:
    ids_TLK = choices(seed=4, towards=2)
    moved_E = np.roll(np.arange(EXPERTS), 3)
    expert_LE = np.tile(moved_E, (2, 1))
    expert_LE[1, 7] = UNMATCHED
    first, second = opened.side("a", ids_TLK), opened.side("b", moved_E[ids_TLK])
    found = compare(first, second, renaming=Renaming(np.arange(2), expert_LE))
    assert found.loads is not None
    assert len(found.loads) == 2 * EXPERTS - 1
    np.testing.assert_allclose(found.loads["first"], found.loads["second"])
    plain = compare(first, second)
    assert plain.loads is not None
    assert not np.allclose(plain.loads["first"], plain.loads["second"])


def test_counts_have_loads_and_nothing_of_a_token(tmp_path: Path, opened: Opened) -> None:
    paths = [tmp_path / f"{name}.duckdb" for name in "ab"]
    for path in paths:
        counted(path, top_k=2)
    found = compare(*(opened.part(path, "") for path in paths))
    assert found.per_token.empty
    assert found.loads is not None


def test_an_empty_trace_is_refused(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    write_empty_trace(path)
    with pytest.raises(ValueError, match="empty holds no tokens"):
        opened.part(path, "")


@pytest.mark.parametrize(
    ("others", "parts", "line"),
    [
        ([], [], "found 1 trace to compare; give two to four traces"),
        (["b", "c", "d", "e"], [], "found 5 traces to compare"),
        ([], ["half:first"], "found 1 part to compare; give two to four parts of it"),
        (["b"], ["half:first"], "b is another trace, and --part is of one"),
        (["a"], [], "given twice"),
    ],
)
def test_too_few_and_too_many_are_refused(others: list[str], parts: list[str], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        subjects(Path("a"), [Path(name) for name in others], parts)


def test_a_comparison_in_lines_and_as_json(opened: Opened) -> None:
    one = compared(opened.side("a", choices(seed=0)), opened.side("b", choices(seed=0)))
    text = "\n".join(one.lines())
    assert "loads: 0 of 16 changed" in text
    assert "tokens that differ in at least one layer: 0.00%" in text
    value = one.as_json()
    assert value["paired"] is True
    assert {name for name, _ in one.tables()} >= {"load_differences", "flips", "matched_experts"}


def test_experts_without_a_counterpart_make_no_other_one_sure(opened: Opened) -> None:
    """Of eight experts four are matched, and none of them changed."""
    first, second = opened.side("a", choices(seed=5)), opened.side("b", choices(seed=6))
    expert_LE = np.tile(np.arange(EXPERTS), (2, 1))
    expert_LE[:, 4:] = UNMATCHED
    found = compare(first, second, renaming=Renaming(np.arange(2), expert_LE))
    assert found.loads is not None
    assert len(found.loads) == 8
    assert not (found.loads.q < 0.05).any()
    smallest = found.loads.p.min() * 8
    assert found.loads.q.min() <= smallest + 1e-12
    assert found.loads.q.max() == pytest.approx(found.loads.p.max())


def test_the_same_texts_are_pairs_whatever_their_labels(opened: Opened) -> None:
    labelled = opened.side("a", choices(seed=0))
    plain = opened.side("b", choices(seed=1), labels=False)
    found = compare(labelled, plain)
    assert found.paired
    assert found.domains == ["a", "b"]
    assert found.lifts is not None


def test_phases_of_texts_in_groups_are_pairs(opened: Opened, tmp_path: Path) -> None:
    """Twelve groups of two texts, of which only the second has generated tokens."""
    path = tmp_path / "talk.duckdb"
    with TraceStore.create(path, description(experts=4)) as store:
        for doc_id in range(24):
            ids_TLK = np.tile([[0, 1]], (4, 2, 1)) + doc_id % 3
            document = Document(doc_id=doc_id, text=f"text {doc_id}", group=f"g{doc_id // 2}")
            phase_T = np.array([0, 0, 1, 1], np.uint8) * (doc_id % 2)
            batch = batch_of([doc_id] * 4, ids_TLK)
            store.write(replace(batch, documents=(document,), phase_T=phase_T.astype(np.uint8)))
    found = compare(opened.part(path, "phase:prefill"), opened.part(path, "phase:decode"))
    assert (found.paired, found.num_groups) == (True, (12, 12))


def test_traces_of_one_name_are_told_apart_by_their_folders() -> None:
    found = subjects(Path("x/c.duckdb"), [Path("y/c.duckdb")], [])
    assert names(found) == ["x/c.duckdb", "y/c.duckdb"]
    assert names(subjects(Path("x/a.duckdb"), [Path("y/c.duckdb")], [])) == ["a", "c"]
    assert names(subjects(Path("x/a.duckdb"), [], ["half:first", "half:second"])) == [
        "a, first half",
        "a, second half",
    ]


def test_parts_of_different_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="parts of different kinds"):
        subjects(Path("a"), [], ["domain:math", "half:first"])
    assert len(subjects(Path("a"), [], ["foo", "bar"])) == 2  # refused as no parts, once opened


def test_models_that_nothing_tells_apart_are_compared_by_number_and_said_to_be(
    opened: Opened,
) -> None:
    one = compared(opened.side("a", choices(seed=0)), opened.side("b", choices(seed=7)))
    assert one.named == ""  # the same weights, as the traces say
    other = opened.side("c", choices(seed=7))
    unknown = replace(other.info, model_sha256="")
    one = compared(opened.side("d", choices(seed=0)), replace(other, info=unknown))
    assert one.named.startswith("Experts are compared by their numbers, which mean nothing here")
