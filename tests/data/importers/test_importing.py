"""From files to batches: which importer reads them, what the options add, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from data.counts import CountsBatch
from data.importers.importing import Dump
from data.importers.source import Options
from data.new_trace import TraceDescription
from data.routing import Document, RoutingBatch
from tests.data.importers.sources import routed


def save(path: Path, ids_TLK: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, ids_TLK.astype(np.int16))
    return path


def blocks(path: Path, texts: list[list[int]]) -> Path:
    """OLMoE's, of 2 layers of 8 experts, 2 chosen."""
    lines = [
        {"input_ids": ids, "exp_ids": routed(len(ids), seed=number).swapaxes(1, 2).tolist()}
        for number, ids in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def dump(*paths: Path, format: str | None = None, **options: Any) -> Dump:
    return Dump(paths, Options(**{"num_experts": 8} | options), format=format)


def documents(given: Dump) -> list[Document]:
    return [document for batch in given for document in batch.documents]


def test_the_files_of_a_folder_are_one_dump_and_others_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a" / "one.npy", routed(5))
    save(tmp_path / "b" / "two.npy", routed(7))
    (tmp_path / "notes.md").write_text("# notes")
    given = dump(tmp_path)
    assert [document.origin for document in documents(given)] == ["a/one.npy", "b/two.npy"]
    found = {finding.kind: finding for finding in given.findings}
    assert found["not-read"].first_example == "notes.md"


def test_a_file_of_no_known_format_is_refused_with_how_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# notes")
    with pytest.raises(
        ValueError, match=r"notes\.md \(it begins with b'# notes'\) is of no format"
    ):
        dump(path)


def test_files_of_two_formats_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "one.npy", routed(5))
    blocks(tmp_path / "two.jsonl", [[1, 2]])
    with pytest.raises(ValueError, match=r"of 2 formats \(arrays: one\.npy; olmoe: two\.jsonl\)"):
        dump(tmp_path)


def test_a_format_can_be_named_and_must_be_known(tmp_path: Path) -> None:
    path = blocks(tmp_path / "two.jsonl", [[1, 2]])
    assert dump(path, format="olmoe").source.format == "olmoe"
    with pytest.raises(ValueError, match="there is no format 'odd'; give one of sglang-recorder"):
        dump(path, format="odd")


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder without any file"):
        dump(tmp_path)
    with pytest.raises(ValueError, match="there is no file or folder"):
        dump(tmp_path / "gone")


def test_a_file_is_named_once_and_by_a_name_that_can_be_written(tmp_path: Path) -> None:
    path = save(tmp_path / "one.npy", routed(5))
    with pytest.raises(ValueError, match=r"one\.npy is given twice"):
        dump(path, tmp_path)
    odd = save(tmp_path / "odd" / "a\x1b\nb.npy", routed(5))
    assert [document.origin for document in documents(dump(odd))] == ["a\ufffd\ufffdb.npy"]
    path.rename(tmp_path / "\udcff.npy")
    with pytest.raises(ValueError, match="a name that is not UTF-8; rename the file"):
        dump(tmp_path)


def test_an_error_of_the_disk_names_the_file() -> None:
    with pytest.raises(ValueError, match="cannot read mem: Input/output error"):
        dump(Path("/proc/self/mem"))


def test_a_number_that_no_file_says_is_asked_for_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "one.npy", routed(5))
    with pytest.raises(ValueError, match=r"one\.npy does not say .*; give --num-experts"):
        dump(path, num_experts=None)


def test_dense_layers_are_left_out_of_the_description(tmp_path: Path) -> None:
    ids_TLK = routed(50, layers=3)
    ids_TLK[:, 0] = 0
    given = dump(save(tmp_path / "one.npy", ids_TLK), layers="all")
    assert [layer.name for layer in given.description("t").layers] == ["layers.1", "layers.2"]


def test_prompts_bring_texts_domains_and_groups_in_their_order(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "d" / f"{number}.npy", routed(5))
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("text,domain,group\nhello,math,a\nworld,code,b\n")
    given = dump(tmp_path / "d", prompts=prompts)
    labelled = [(one.text, one.domain, one.group) for one in documents(given)]
    assert labelled == [("hello", "math", "a"), ("world", "code", "b")]
    config = given.description("t").config
    assert config["capture"]["groups"]["from"] == "column"  # type: ignore[index]


def test_prompts_are_joined_by_the_id_of_the_request(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    lines = [
        {"id": name, "token_ids": [1, 2, 3], "routed_experts": routed(3, seed=seed).tolist()}
        for seed, name in enumerate(("b", "a"))
    ]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"id": "a", "text": "first", "domain": "x"}, {"id": "b", "text": "second"}]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = documents(dump(answers, prompts=prompts))
    assert [(one.text, one.domain) for one in given] == [("second", None), ("first", "x")]


def test_the_text_of_a_prompt_stands_before_that_of_its_answer(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    choices = [{"text": text, "routed_experts": routed(3).tolist()} for text in ("4", "2+2=4")]
    lines = [
        {"choices": [one], "usage": {"prompt_tokens": 3, "completion_tokens": 1}} for one in choices
    ]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("2+2=\n2+2=\n")
    given = documents(dump(answers, prompts=prompts))
    assert [one.text for one in given] == ["2+2=4", "2+2=4"]


def test_prompts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "one.npy", routed(5))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\n")
    given = dump(path, prompts=prompts)
    list(given)
    found = {finding.kind: finding.occurrences for finding in given.findings}
    assert found["prompts-left"] == 1


@pytest.mark.parametrize(
    ("source", "domains"), [("origin", ["1", "0"]), ("folder", ["code", "math"])]
)
def test_a_domain_is_where_a_file_lies(tmp_path: Path, source: str, domains: list[str]) -> None:
    save(tmp_path / "math" / "0.npy", routed(5))
    save(tmp_path / "code" / "1.npy", routed(5))
    given = documents(dump(tmp_path, domain_from=source))
    assert [document.domain for document in given] == domains


def test_a_domain_stands_in_a_file_of_names(tmp_path: Path) -> None:
    save(tmp_path / "d" / "0.npy", routed(5))
    save(tmp_path / "d" / "1.npy", routed(5))
    table = tmp_path / "domains.csv"
    table.write_text("0.npy,math\n1,code\n")
    given = documents(dump(tmp_path / "d", domain_from=str(table)))
    assert [document.domain for document in given] == ["math", "code"]
    table.write_text("0.npy,math,odd\n")
    with pytest.raises(ValueError, match=r"domains\.csv:1: 3 fields"):
        dump(tmp_path / "d", domain_from=str(table))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Of bytes: id 65 is A. The last two ids are the bytes of one letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {letter: place for place, letter in enumerate(letters)}
    made = Tokenizer(models.BPE(vocab=ids, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_a_tokenizer_makes_ids_text(tmp_path: Path, tokenizer: Path) -> None:
    ids = Tokenizer.from_file(str(tokenizer)).encode("hé!").ids
    assert len(ids) == 4
    [batch] = dump(blocks(tmp_path / "b.jsonl", [ids]), tokenizer=tokenizer)
    assert isinstance(batch, RoutingBatch)
    assert list(batch.token_text_T) == ["h", "", "é", "!"]
    assert batch.documents[0].text == "hé!"


def test_another_models_tokenizer_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    given = dump(blocks(tmp_path / "b.jsonl", [[5, 999]]), tokenizer=tokenizer.parent)
    with pytest.raises(ValueError, match="token id 999 in text 0 is none of the 256"):
        list(given)
    with pytest.raises(ValueError, match="there is no tokenizer"):
        dump(tmp_path / "b.jsonl", tokenizer=tmp_path / "none.json")


def test_texts_without_ids_are_numbered_as_they_first_come(tmp_path: Path) -> None:
    layer = {"layer_0": {"selected_experts": [1, 2], "selected_probs": [0.6, 0.4]}}
    answer = {
        "full_text": ["a", "b", "a", "c"],
        "generated_only": ["b", "a", "c"],
        "router_data": [{f"token_{place}": layer} for place in range(3)],
    }
    (tmp_path / "one.json").write_text(json.dumps(answer))
    given = dump(tmp_path / "one.json")
    [batch] = given
    assert isinstance(batch, RoutingBatch)
    assert batch.token_id_T.tolist() == [0, 1, 0]
    assert {one.kind: one.occurrences for one in given.findings}["numbered-texts"] == 3


def physical(path: Path, rows: object) -> Path:
    path.write_text(json.dumps({"physical_to_logical_map": rows}))
    return path


def test_a_physical_map_that_is_given_is_used(tmp_path: Path) -> None:
    logical_TLK = routed(60)
    dumped = save(tmp_path / "one.npy", np.where(logical_TLK == 3, 8, logical_TLK))
    rows = [[0, 1, 2, 3, 4, 5, 6, 7, 3]] * 2
    given = dump(dumped, physical_map=physical(tmp_path / "map.json", rows))
    [batch] = given
    assert isinstance(batch, RoutingBatch)
    np.testing.assert_array_equal(batch.expert_ids_TLK, logical_TLK)
    assert {finding.kind for finding in given.findings} >= {"physical-ids"}


def test_a_map_of_every_expert_to_itself_is_none(tmp_path: Path) -> None:
    given = dump(
        save(tmp_path / "one.npy", routed(60)),
        physical_map=physical(tmp_path / "map.json", [list(range(8))] * 2),
    )
    list(given)
    assert "physical-ids" not in {finding.kind for finding in given.findings}


def test_a_map_that_torch_saved_is_read_too(tmp_path: Path) -> None:
    rows = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 3]] * 2)
    torch.save({"physical_to_logical_map": rows}, tmp_path / "map.pt")
    given = dump(save(tmp_path / "one.npy", routed(60)), physical_map=tmp_path / "map.pt")
    list(given)
    assert {finding.kind for finding in given.findings} >= {"physical-ids"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1]], "has 1 row, the files 2 layers"),
        ([[0, 1], [0]], "rows are as long as"),
        ([[0, 9], [0, 1]], "has expert 9, and 8 experts were given"),
        ([[0, -1], [0, 1]], "holds -1"),
        ({"a": 1}, "has no physical_to_logical_map"),
    ],
)
def test_a_physical_map_that_does_not_fit_is_refused(
    tmp_path: Path, rows: object, message: str
) -> None:
    path = physical(tmp_path / "map.json", rows)
    with pytest.raises(ValueError, match=message):
        dump(save(tmp_path / "one.npy", routed(60)), physical_map=path)


def test_a_trace_of_a_dump_says_where_it_is_from(tmp_path: Path) -> None:
    described = dump(blocks(tmp_path / "b.jsonl", [[1, 2], [3, 4]])).description("mine")
    assert isinstance(described, TraceDescription)
    assert (described.name, described.model_sha256, described.num_experts) == ("mine", "", 8)
    size = (tmp_path / "b.jsonl").stat().st_size
    assert described.config["import"] == {
        "format": "olmoe",
        "files": 1,
        "first_file": "b.jsonl",
        "bytes": size,
    }


def test_progress_comes_to_the_size_of_the_files(tmp_path: Path) -> None:
    given = dump(blocks(tmp_path / "b.jsonl", [[1, 2], [3, 4]]))
    list(given)
    assert given.meter.done == given.meter.total > 0


def test_counts_become_batches_of_counts(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("layer,expert\n" + "".join(f"{layer},{layer + 1}\n" * 3 for layer in (0, 1)))
    given = dump(path, top_k=1)
    [batch] = given
    assert isinstance(batch, CountsBatch)
    assert given.description("t").counts_only
    assert batch.tokens_NLE.sum() == 6
