import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.tokenizer import (
    END_OF_TEXT,
    EVERY_BYTE,
    decode,
    encoded,
    load_tokenizer,
    num_ids,
    tokenized,
    train_tokenizer,
)

DATA = Path(__file__).parents[2] / "data"
FILE = DATA / "checkpoint" / "tokenizer.json"
SHIPPED = load_tokenizer(FILE)
TEXTS = ["the cat sat on the mat", "the dog sat on the log"] * 5


def test_the_shipped_vocabulary_has_16384_entries_and_the_special_token_first() -> None:
    assert SHIPPED.get_vocab_size() == 16_384
    assert SHIPPED.token_to_id(END_OF_TEXT) == 0


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert decode(SHIPPED, SHIPPED.encode(text).ids) == text


@pytest.mark.parametrize("text", [" a", "  \n\t x\r\n", "e\u0301 é", "\x00", "🏳️‍🌈", "\uff12\uff10"])
def test_text_that_normalizers_like_to_change_comes_back(text: str) -> None:
    assert decode(SHIPPED, SHIPPED.encode(text).ids) == text


def test_every_shipped_document_comes_back() -> None:
    texts = pq.read_table(DATA / "heldout.parquet")["text"].to_pylist()[::10]
    for text, encoding in zip(texts, SHIPPED.encode_batch_fast(texts), strict=True):
        assert decode(SHIPPED, encoding.ids) == text


def test_the_name_of_the_special_token_in_a_text_is_only_characters() -> None:
    ids = SHIPPED.encode(f"a{END_OF_TEXT}b").ids
    assert 0 not in ids
    assert decode(SHIPPED, ids) == f"a{END_OF_TEXT}b"


def test_a_number_is_split_into_its_digits() -> None:
    assert SHIPPED.encode("2024").tokens == ["2", "0", "2", "4"]


def test_training_gives_exactly_the_vocabulary_asked_for() -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=265)  # 1 special + 256 bytes + 8 merges
    assert tokenizer.get_vocab_size() == 265


def test_too_little_text_for_a_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="entries, not 5000; give more text"):
        train_tokenizer(TEXTS, vocab_size=5000)


def test_a_tokenizer_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="routescope corpus tokenize"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_tokenized_documents_keep_order_domain_and_bytes() -> None:
    rows = [{"text": "é", "domain": "math"}, {"text": "ab", "domain": "code"}]
    documents = list(tokenized(SHIPPED, rows, FILE))
    assert [(d.domain, d.text_bytes) for d in documents] == [("math", 2), ("code", 2)]
    assert decode(SHIPPED, documents[1].token_ids.tolist()) == "ab"


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer: "):
        load_tokenizer(path)


BYTE_LEVEL: dict[str, object] = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
}
BYTE_LEVEL |= {"use_regex": True}
TEXTS_OF_ALL_KINDS = ["", " ", "The cat  sat on the Mat today ", "e\u0301 ﬁ🏳️‍🌈", END_OF_TEXT]


def changed(folder: Path, **fields: object) -> Path:
    """The shipped tokenizer with other fields; those of its model and its added tokens to add."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    content["model"] |= fields.pop("model", {})
    content["added_tokens"] += fields.pop("added_tokens", [])
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content | fields), encoding="utf-8")
    return path


TRUNCATION: dict[str, object] = {
    "max_length": 3,
    "strategy": "LongestFirst",
    "stride": 0,
    "direction": "Right",
}
PADDING: dict[str, object] = {
    "strategy": {"Fixed": 64},
    "direction": "Right",
    "pad_to_multiple_of": None,
}
PADDING |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
START = {"SpecialToken": {"id": "x", "type_id": 0}}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [START, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"x": {"id": "x", "ids": [99_999], "tokens": ["x"]}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": TRUNCATION},
        {"truncation": TRUNCATION | {"stride": 9}},  # of which the package panics
        {"padding": PADDING},
        {"post_processor": TEMPLATE},
        {"post_processor": BYTE_LEVEL},  # takes blanks out of the offsets
        {"model": {"dropout": 0.5}},
    ],
)
def test_what_a_file_asks_for_beside_its_text_is_left_out(
    fields: dict[str, object], tmp_path: Path
) -> None:
    path = changed(tmp_path, **fields)
    tokenizer = load_tokenizer(path)
    for one, own in zip(
        encoded(tokenizer, TEXTS_OF_ALL_KINDS, path),
        encoded(SHIPPED, TEXTS_OF_ALL_KINDS, FILE),
        strict=True,
    ):
        assert (one.ids, one.offsets) == (own.ids, own.offsets)
    rows = [{"text": "The cat sat on it", "domain": "code"}]
    [document] = tokenized(tokenizer, rows, path)
    assert document.token_ids.tolist() == SHIPPED.encode("The cat sat on it").ids


@pytest.mark.parametrize(
    "fields",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
        {"normalizer": {"type": "NFC"}},
        {"normalizer": {"type": "Prepend", "prepend": "_"}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}},
        {"pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}]}},
        {"pre_tokenizer": None},
        {"decoder": None},
    ],
)
def test_a_tokenizer_that_changes_texts_is_refused(
    fields: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json changes texts: .* comes back as"):
        load_tokenizer(changed(tmp_path, **fields))


def test_a_text_that_alone_is_changed_is_named(tmp_path: Path) -> None:
    word: dict[str, object] = {
        "id": 60_000,
        "content": "Mat to",
        "single_word": False,
        "lstrip": True,
    }
    word |= {"rstrip": True, "normalized": False, "special": False}
    path = changed(tmp_path, added_tokens=[word])
    tokenizer = load_tokenizer(path)
    assert num_ids(tokenizer) == num_ids(SHIPPED) + 1
    assert encoded(tokenizer, ["a dog"], path)[0].ids == SHIPPED.encode("a dog").ids
    with pytest.raises(ValueError, match="changes texts: ' the Mat tod' comes back as ' theMat "):
        encoded(tokenizer, ["a dog", "on the Mat today"], path)


def test_ids_that_no_corpus_holds_are_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, model={"vocab": SHIPPED.get_vocab() | {"zzz": 70_000}})
    with pytest.raises(ValueError, match=r"the token id 70,000; a corpus holds ids below 65,536"):
        list(tokenized(load_tokenizer(path), [], path))


def test_the_sample_holds_every_byte() -> None:
    assert set(EVERY_BYTE.encode()) == {*range(0xC0), *range(0xC2, 0xF5)}


SLOW: dict[str, object] = {
    "type": "Split",
    "pattern": {"Regex": "(a|a|aa)+$z"},
    "behavior": "Isolated",
}
SLOW |= {"invert": False}


def test_a_panic_names_tokenizer_and_text_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pre_tokenizer = {"type": "Sequence", "pretokenizers": [SLOW, BYTE_LEVEL]}
    path = changed(tmp_path, pre_tokenizer=pre_tokenizer)
    tokenizer = load_tokenizer(path)
    line = r"tokenizer\.json cannot encode the text 'a{40}' \.\.\. of 60 characters: Onig: .*over$"
    with pytest.raises(ValueError, match=line):
        encoded(tokenizer, ["a cat", "a" * 60, "a dog"], path)
    normalizer = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    with pytest.raises(ValueError, match=r"is no tokenizer: Precompiled: .*"):
        load_tokenizer(changed(tmp_path, normalizer=normalizer))
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError, match=r"cannot encode the text '\\udcff'"):
        encoded(SHIPPED, ["\udcff"], FILE)
