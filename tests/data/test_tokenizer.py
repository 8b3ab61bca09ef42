from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.tokenizer import (
    END_OF_TEXT,
    bytes_per_token,
    decode,
    load_tokenizer,
    tokenized,
    train_tokenizer,
)

DATA = Path(__file__).parents[2] / "data"
SHIPPED = load_tokenizer(DATA / "checkpoint" / "tokenizer.json")
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


def test_bytes_per_token_of_bytes_alone_is_one() -> None:
    only_bytes = train_tokenizer(["abc"], vocab_size=257)
    assert bytes_per_token(only_bytes, ["abcd", "é"]) == 1.0  # 4 + 2 bytes, 6 tokens


def test_bytes_per_token_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no text to measure"):
        bytes_per_token(SHIPPED, [])


def test_a_tokenizer_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="routescope corpus tokenize"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_tokenized_documents_keep_order_domain_and_bytes() -> None:
    rows = [{"text": "é", "domain": "math"}, {"text": "ab", "domain": "code"}]
    documents = list(tokenized(SHIPPED, rows))
    assert [(d.domain, d.text_bytes) for d in documents] == [("math", 2), ("code", 2)]
    assert decode(SHIPPED, documents[1].token_ids.tolist()) == "ab"


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer: "):
        load_tokenizer(path)
