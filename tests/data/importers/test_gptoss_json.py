import json
from pathlib import Path

import pytest

from data.importers import gptoss_json
from data.importers.source import Options
from tests.data.importers.research_dumps import TOKEN_A, TOKEN_B, answer, read, survives, written

# Of four tokens the prompt's, 0, was not recorded, and the last was never read.
TEXT = ["Why", " not", "?", "."]
ANSWER = answer(
    {1: TOKEN_A, 2: TOKEN_B}, full_text=TEXT, generated_only=TEXT[1:], category="virology"
)


def test_positions_and_texts_are_those_of_the_tokens_that_were_read(tmp_path: Path) -> None:
    reading = read(gptoss_json, written(tmp_path / "a.json", ANSWER))
    batch = reading.routing
    assert batch.position_T.tolist() == [1, 2]
    assert batch.token_text_T == [" not", "?"]
    assert batch.phase_T.tolist() == [1, 1]
    assert batch.expert_ids_TLK.tolist() == [[[3, 1], [0, 2]], [[2, 0], [1, 3]]]
    assert batch.weights_TLK[0].tolist() == [[0.5, 0.25], [0.75, 0.125]]
    [document] = reading.documents
    assert (document.text, document.domain) == ("Why not?.", "virology")
    assert document.origin == "a.json:0"
    assert reading.source.weights_sum == "one"


def test_tokens_without_routing_are_counted(tmp_path: Path) -> None:
    reading = read(gptoss_json, written(tmp_path / "a.json", ANSWER))
    assert reading.findings == {"unrecorded-tokens": 1, "no-pass-for-last-token": 1}


def test_a_text_with_routing_of_every_token_has_no_finding(tmp_path: Path) -> None:
    whole = answer({0: TOKEN_A, 1: TOKEN_B}, full_text=["a", "b"], generated_only=["b"])
    reading = read(gptoss_json, written(tmp_path / "a.json", whole))
    assert reading.findings == {}
    assert reading.routing.phase_T.tolist() == [0, 1]


def test_rows_beyond_the_text_are_named(tmp_path: Path) -> None:
    short = answer({0: TOKEN_A, 1: TOKEN_B}, full_text=["a"])
    reading = read(gptoss_json, written(tmp_path / "a.json", short))
    assert reading.findings == {"rows-against-tokens": 1}
    assert reading.routing.token_text_T == ["a", None]


@pytest.mark.parametrize("content", [f"[{ANSWER},\n{ANSWER}]", f"{ANSWER}\n{ANSWER}\n"])
def test_a_file_may_hold_several_answers(tmp_path: Path, content: str) -> None:
    reading = read(gptoss_json, written(tmp_path / "a.json", content))
    assert reading.routing.doc_id_T.tolist() == [0, 0, 1, 1]
    assert [one.origin for one in reading.documents] == ["a.json:0", "a.json:1"]
    assert reading.meter.done == len(content)


def changed(old: str, new: str) -> str:
    assert old in ANSWER
    return ANSWER.replace(old, new, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed('"token_2"', '"token_1"'), "a.json:0: token_1 stands behind token_1"),
        (changed('"token_2"', '"token_x"'), "a.json:0: router_data holds 'token_x'"),
        (changed("[2, 0]", "[2]"), r"token_2, layer_0, has 1 experts and 2 weights; 2 are"),
        (changed("[2, 0]", "[2, 0.0]"), "a.json:0: ids that are no whole numbers"),
        (changed("[2, 0]", "[2, false]"), "a.json:0: ids that are no whole numbers"),
        (changed("[2, 0]", '"20"'), "a.json:0: ids that are no whole numbers"),
        (changed("[2, 0]", f"[2, {10**30}]"), "a.json:0: a number that is too large"),
        (changed('[" not"', "[1"), "generated_only is no list of texts"),
        (changed('"Why"', '"\\ud800"'), "full_text holds half a character"),
        (changed('"virology"', '"\\ud800"'), "category holds half a character"),
        (changed('"virology"', "3"), "category is int; a text is expected"),
        (ANSWER[:-1], "a.json: object 0 is not whole JSON"),
        (ANSWER + "x", "a.json: object 1: 'x' where an object is expected"),
        (f"[{ANSWER}{ANSWER}]", "a.json: '{' stands in its list where ',' is expected"),
        (f"[{ANSWER}] 1", "something stands behind the list"),
        (json.dumps({"router_data": [], "full_text": ["a"]}), "has no token in its router_data"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(gptoss_json, written(tmp_path / "a.json", content))


def test_an_answer_of_other_layers_than_the_first_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.json", ANSWER)
    written(tmp_path / "b.json", answer({0: TOKEN_A[:1]}, full_text=["a"]))
    with pytest.raises(ValueError, match=r"b\.json:0: token_0 has 1 layer; 2 .* a\.json"):
        read(gptoss_json, tmp_path)


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", '{"router_data": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json: object 0 is nested too deeply"):
        read(gptoss_json, path)


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json .* give --num-experts"):
        read(gptoss_json, written(tmp_path / "a.json", ANSWER), Options())


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert survives(gptoss_json, written(tmp_path / "a.json", f"{ANSWER}\n{ANSWER}")) > 0
