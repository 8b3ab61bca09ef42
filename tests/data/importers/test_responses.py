import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.importers import responses
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import DECODE, NO_TOKEN, PREFILL, RoutingBatch
from tests.data.importers.engine_payloads import (
    nemo,
    npy,
    raw,
    read,
    routing,
    saved,
    sglang,
    verifiers,
    vllm,
)

OPTIONS = Options(num_experts=8, top_k=2)
PROMPT, ANSWER = [11, 12, 13], [21, 22]  # 5 tokens: 4 rows
ROWS_TLK = routing(4)


def source_of(path: Path, *values: object) -> Source:
    return responses.source([saved(path / "r.jsonl", *values)], OPTIONS)


def one_batch(path: Path, *values: object) -> RoutingBatch:
    [batch] = read(source_of(path, *values))
    return batch


def kinds(batch: RoutingBatch) -> dict[str, int]:
    return {one.kind: one.occurrences for one in batch.findings}


def test_ids_of_an_object_without_prompt_are_those_of_all_its_tokens(tmp_path: Path) -> None:
    value = {"token_ids": [5, 6, 7], "routed_experts": verifiers(routing(3))}
    (tmp_path / "a.jsonl").write_text(json.dumps(value) + "\n")
    files = [DumpFile(tmp_path / "a.jsonl", "a.jsonl")]
    [batch] = responses.source(files, Options(num_experts=8)).batches(Meter())
    assert isinstance(batch, RoutingBatch)
    assert batch.token_id_T.tolist() == [5, 6, 7]
    assert batch.findings == ()


def test_a_request_that_comes_again_is_named(tmp_path: Path) -> None:
    answer = vllm(PROMPT, ANSWER, npy(ROWS_TLK))
    [batch] = read(source_of(tmp_path, answer, answer | {"id": "another"}, answer))
    assert kinds(batch)["repeated-requests"] == 1
    several = answer | {"choices": answer["choices"] * 2}
    assert "repeated-requests" not in kinds(one_batch(tmp_path, several))


def test_answers_of_two_models_are_refused(tmp_path: Path) -> None:
    answers = [vllm([1, 2], [3], npy(routing(2))) | {"model": name} for name in ("a", "b")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    files = [DumpFile(tmp_path / "a.jsonl", "a.jsonl")]
    with pytest.raises(ValueError, match=r"a\.jsonl:2 is an answer of the model 'b'"):
        list(responses.source(files, Options(num_experts=8)).batches(Meter()))


def test_rows_of_vllm_are_of_all_tokens_but_the_last(tmp_path: Path) -> None:
    batch = one_batch(tmp_path, vllm(PROMPT, ANSWER, npy(ROWS_TLK)))
    assert (batch.expert_ids_TLK == ROWS_TLK).all()
    assert batch.token_id_T.tolist() == [11, 12, 13, 21]
    assert batch.phase_T.tolist() == [PREFILL] * 3 + [DECODE]
    assert batch.position_T.tolist() == [0, 1, 2, 3]
    assert kinds(batch) == {"no-pass-for-last-token": 1}


def test_rows_of_sglang_have_texts_and_losses(tmp_path: Path) -> None:
    batch = one_batch(tmp_path, sglang(PROMPT, ANSWER, raw(ROWS_TLK)))
    assert (batch.expert_ids_TLK == ROWS_TLK).all()
    assert batch.token_text_T == ["p11", "p12", "p13", "a21"]
    assert np.isnan(batch.loss_T[0])
    assert batch.loss_T[1:].tolist() == [1.0, 1.0, 0.5]
    assert batch.documents[0].text == "p11p12p13a21a22"
    assert batch.documents[0].origin == "r.jsonl:1 id=r1"


@pytest.mark.parametrize("field", ["sglext", "sgl_ext"])
def test_both_names_of_the_extension_are_read_in_choice_and_response(
    tmp_path: Path, field: str
) -> None:
    inside = {"text": "a", "token_ids": ANSWER, "prompt_token_ids": PROMPT}
    payload = {field: {"routed_experts": raw(ROWS_TLK, "u1")}}
    for value in ({"choices": [inside | payload]}, {"choices": [inside]} | payload):
        assert (one_batch(tmp_path, value).expert_ids_TLK == ROWS_TLK).all()


def test_rows_start_where_the_request_said(tmp_path: Path) -> None:
    answer = sglang(PROMPT, ANSWER, raw(ROWS_TLK[2:]), routed_experts_start_len=2)
    batch = one_batch(tmp_path, answer)
    assert batch.position_T.tolist() == [2, 3]
    assert batch.token_id_T.tolist() == [13, 21]
    assert kinds(batch) == {"unrecorded-tokens": 2, "no-pass-for-last-token": 1}


def test_rows_start_behind_the_tokens_that_a_cache_held(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    value = vllm(PROMPT, ANSWER, npy(ROWS_TLK[2:])) | {"usage": usage}
    assert one_batch(tmp_path, value).position_T.tolist() == [2, 3]


def test_a_start_beyond_the_prompt_is_refused(tmp_path: Path) -> None:
    answer = vllm(PROMPT, ANSWER, verifiers(ROWS_TLK, start=4))
    with pytest.raises(ValueError, match=r"start at token 4, .* within the prompt of 3"):
        read(source_of(tmp_path, answer))


@pytest.mark.parametrize("rows", [3, 5, 6])
def test_rows_that_are_not_one_fewer_than_tokens_are_named(tmp_path: Path, rows: int) -> None:
    batch = one_batch(tmp_path, vllm(PROMPT, ANSWER, npy(routing(rows))))
    assert kinds(batch) == {"rows-against-tokens": 1}
    assert batch.position_T.tolist() == list(range(rows))
    assert batch.token_id_T.tolist() == [11, 12, 13, 21, 22, NO_TOKEN][:rows]


def test_prompt_and_answer_apart_have_a_row_each(tmp_path: Path) -> None:
    value = vllm(PROMPT, ANSWER, routing(5)[3:].tolist())
    value["prompt_routed_experts"] = routing(5)[:3].tolist()
    batch = one_batch(tmp_path, value)
    assert (batch.expert_ids_TLK == routing(5)).all()
    assert kinds(batch) == {}


def test_a_list_of_the_answer_alone_begins_behind_the_prompt(tmp_path: Path) -> None:
    batch = one_batch(tmp_path, vllm(PROMPT, ANSWER, routing(2).tolist()))
    assert batch.position_T.tolist() == [3, 4]
    assert batch.phase_T.tolist() == [DECODE, DECODE]
    assert kinds(batch) == {"unrecorded-tokens": 3}


@pytest.mark.parametrize("payload", [nemo(routing(5)), verifiers(routing(5))])
def test_forms_with_a_row_for_every_token_are_right(tmp_path: Path, payload: object) -> None:
    assert kinds(one_batch(tmp_path, vllm(PROMPT, ANSWER, payload))) == {}


def test_ids_stand_as_in_the_file(tmp_path: Path) -> None:
    odd_TLK = ROWS_TLK.copy()
    odd_TLK[0] = -1
    odd_TLK[1, 0] = [5, 5]
    odd_TLK[2, 1] = [900, 1]
    assert (one_batch(tmp_path, vllm(PROMPT, ANSWER, npy(odd_TLK))).expert_ids_TLK == odd_TLK).all()


def test_each_choice_is_a_text(tmp_path: Path) -> None:
    value = vllm(PROMPT, ANSWER, npy(ROWS_TLK))
    value["choices"] *= 2
    batch = one_batch(tmp_path, value, value)
    assert batch.doc_id_T.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert [document.doc_id for document in batch.documents] == [0, 1, 2, 3]


def test_an_answer_without_routing_is_left_out_and_named(tmp_path: Path) -> None:
    batch = one_batch(
        tmp_path, vllm(PROMPT, ANSWER, npy(ROWS_TLK)), vllm(PROMPT, ANSWER, None) | {"id": "b"}
    )
    assert len(batch.documents) == 1
    assert kinds(batch) == {"no-pass-for-last-token": 1, "unrecorded-tokens": 5}


def test_counts_of_usage_stand_for_tokens_that_are_not_listed(tmp_path: Path) -> None:
    choice = {"message": {"content": "hello"}, "routed_experts": npy(ROWS_TLK)}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    batch = one_batch(tmp_path, {"choices": [choice], "usage": usage})
    assert batch.token_id_T.tolist() == [NO_TOKEN] * 4
    assert batch.phase_T.tolist() == [PREFILL] * 3 + [DECODE]
    assert batch.documents[0].text == "hello"


def test_huge_counts_of_usage_cost_nothing(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 2**31 - 1, "completion_tokens": 2**31 - 1}
    batch = one_batch(tmp_path, {"choices": [{"routed_experts": npy(ROWS_TLK)}], "usage": usage})
    assert kinds(batch) == {"rows-against-tokens": 1}


def test_log_probabilities_of_a_chat_are_losses(tmp_path: Path) -> None:
    content = [{"token": "a", "logprob": -0.25}, {"token": "b", "logprob": -9999.0}]
    value = vllm(PROMPT, ANSWER, verifiers(routing(5)), logprobs={"content": content})
    batch = one_batch(tmp_path, value)
    assert batch.loss_T[3] == 0.25
    assert np.isnan(batch.loss_T[4])  # how a server writes that there was none
    assert batch.token_text_T == [None, None, None, "a", "b"]


def test_an_echoed_prompt_has_losses_too(tmp_path: Path) -> None:
    logprobs = {"tokens": list("abcde"), "token_logprobs": [None, -1, -2, -3, -4]}
    value = vllm(PROMPT, ANSWER, npy(ROWS_TLK), logprobs=logprobs, text="abcde")
    batch = one_batch(tmp_path, value)
    assert batch.token_text_T == ["a", "b", "c", "d"]
    assert batch.loss_T[1:].tolist() == [1, 2, 3]
    assert batch.documents[0].text == "abcde"


def test_prompt_log_probabilities_of_vllm_are_losses(tmp_path: Path) -> None:
    entries = [None, {"12": {"logprob": -2.0, "decoded_token": "y"}}, {"13": {"logprob": -3.0}}]
    value = vllm(PROMPT, ANSWER, npy(ROWS_TLK), prompt_logprobs=entries)
    assert one_batch(tmp_path, value).loss_T[1:3].tolist() == [2.0, 3.0]


def test_a_batch_file_and_a_log_of_requests_are_unwrapped(tmp_path: Path) -> None:
    bare = vllm(PROMPT, ANSWER, npy(ROWS_TLK))
    batch = one_batch(
        tmp_path,
        {"custom_id": "q7", "response": {"status_code": 200, "body": bare}, "error": None},
        {"request": {"prompt": "Say "}, "response": bare},
    )
    assert batch.documents[0].origin == "r.jsonl:1 id=q7"
    assert batch.documents[1].text == "Say answer [21, 22]"


def test_one_object_a_list_and_lines_give_the_same(tmp_path: Path) -> None:
    value = vllm(PROMPT, ANSWER, npy(ROWS_TLK))
    for text in (
        json.dumps(value),
        json.dumps(value, indent=1),
        json.dumps([value]),
        json.dumps([value], indent=1),
        "\ufeff" + json.dumps(value),
        "\n\n" + json.dumps(value) + "\n\n",
    ):
        path = tmp_path / "r.json"
        path.write_text(text, encoding="utf-8")
        file = DumpFile(path, path.name)
        assert responses.recognizes(file, file.head())
        meter = Meter()
        [batch] = responses.source([file], OPTIONS).batches(meter)
        assert isinstance(batch, RoutingBatch)
        assert (batch.expert_ids_TLK == ROWS_TLK).all()
        assert meter.done == file.size


def test_batches_are_bounded_and_texts_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "BATCH_CHOICES", 20)  # a text has 16
    batches = read(source_of(tmp_path, *[vllm(PROMPT, ANSWER, npy(ROWS_TLK))] * 5))
    assert [len(batch.documents) for batch in batches] == [2, 2, 1]


def test_experts_are_asked_for_and_experts_a_token_where_they_are_needed(tmp_path: Path) -> None:
    file = saved(tmp_path / "r.jsonl", sglang(PROMPT, ANSWER, raw(ROWS_TLK)))
    with pytest.raises(ValueError, match="give --num-experts"):
        responses.source([file], Options())
    with pytest.raises(ValueError, match="give --top-k"):
        responses.source([file], Options(num_experts=8))
    described = saved(tmp_path / "d.jsonl", vllm(PROMPT, ANSWER, npy(ROWS_TLK)))
    assert responses.source([described], Options(num_experts=8)).layers[0].top_k == 2


def test_responses_without_routing_say_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"r\.jsonl: .*--enable-return-routed-experts"):
        source_of(tmp_path, vllm(PROMPT, ANSWER, None))


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / f"{n}.jsonl", vllm(PROMPT, ANSWER, npy(routing(4, layers=n))))
        for n in (2, 3)
    ]
    with pytest.raises(ValueError, match=r"2\.jsonl has 2 layers .* 3\.jsonl 3 and 2"):
        responses.source(files, OPTIONS)


WRONG: list[tuple[Any, str]] = [
    ({"choices": 3}, "choices are not a list"),
    ({"choices": [3]}, "choices are not a list"),
    ({"error": "no such model"}, "an error, 'no such model'"),
    (3, "int where a response"),
    (vllm([1, True], ANSWER, npy(ROWS_TLK)), "'True'"),
    (vllm([1, 2.0], ANSWER, npy(ROWS_TLK)), "'2.0'"),  # type: ignore[list-item]
    (vllm([1, -2], ANSWER, npy(ROWS_TLK)), "'-2'"),
    (vllm([1, 2**40], ANSWER, npy(ROWS_TLK)), "'1099511627776'"),
    (vllm(PROMPT, ANSWER, npy(ROWS_TLK)) | {"model": 3}, "model is '3'"),
    (vllm(PROMPT, ANSWER, npy(ROWS_TLK), text="\ud800"), "half a surrogate pair"),
    (vllm(PROMPT, ANSWER, npy(ROWS_TLK), logprobs=[1]), "logprobs are '[1]'"),
    (
        vllm(PROMPT, ANSWER, npy(ROWS_TLK), logprobs={"tokens": ["a"], "token_logprobs": ["b"]}),
        "'b' among log-probabilities",
    ),
    (
        vllm(PROMPT, ANSWER, npy(ROWS_TLK), logprobs={"tokens": ["a"], "token_logprobs": [3]}),
        "log-probability 3; 0 is the largest",
    ),
    (sglang(PROMPT, ANSWER, raw(ROWS_TLK), prompt_tokens="3"), "prompt_tokens is '3'"),
    (sglang(PROMPT, ANSWER, raw(ROWS_TLK), output_token_logprobs=[[1]]), "token_logprobs are not"),
]


@pytest.mark.parametrize(("value", "said"), WRONG)
def test_what_no_engine_writes_is_refused_with_its_line(
    tmp_path: Path, value: Any, said: str
) -> None:
    if isinstance(value, dict) and "prompt_tokens" in value.get("meta_info", {}):
        value["meta_info"].pop("input_token_logprobs")
    with pytest.raises(ValueError, match=r"^r\.jsonl:1") as refusal:
        read(source_of(tmp_path, value))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"choices": [NaN]}',
        "[" * 10_000,
        '{"a": ' * 3_000,
        "[1, 2",
        "[{]",
        "",
        " ",
        "[]",
        '{"choices": [], "choices": []}',
        '{"choices": ' + "9" * 5_000 + "}",
        "[" + "9" * 5_000 + "]",
    ],
)
def test_what_is_no_json_of_responses_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^r\.json:") as refusal:
        responses.source([DumpFile(path, path.name)], OPTIONS)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
