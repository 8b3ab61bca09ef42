import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.tokens import DomainWindows, TokenizedDocument, TokenStore, domain_sizes, write_tokens

DOMAINS = ("math", "code")


def document(size: int, domain: str = "math", first: int = 1) -> TokenizedDocument:
    """`size` ids counted up from `first`: with the id of the start, size + 1 tokens."""
    ids = np.arange(first, first + size, dtype=np.uint16)
    return TokenizedDocument(token_ids=ids, domain=domain, text_bytes=3 * size)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """Documents of 3 and 10 tokens: 0 1 2 | 0 101 ... 109, and the closing 0."""
    write_tokens(tmp_path, "train", [document(2), document(9, "code", first=101)], DOMAINS)
    return TokenStore.load(tmp_path, "train")


def test_a_store_comes_back_as_it_was_written(store: TokenStore) -> None:
    assert store.tokens.tolist() == [0, 1, 2, 0, *range(101, 110), 0]
    assert store.doc_start.tolist() == [0, 3, 13]
    assert store.domain_id.tolist() == [0, 1]
    assert store.bytes_per_doc.tolist() == [6, 27]
    assert store.domains == DOMAINS


def test_windows_cover_a_document_evenly_and_a_short_one_once(store: TokenStore) -> None:
    windows = store.windows(4)
    by_document = sorted(map(tuple, windows.tolist()))
    assert by_document[0] == (0, 0, 4)  # 3 tokens and the closing one
    starts = [start for doc, start, _ in by_document if doc == 1]
    assert len(starts) == 3  # ceil(10 / 4)
    assert (starts[0], starts[-1]) == (0, 6)  # 10 - 4


def test_a_batch_ends_with_the_token_after_its_window(store: TokenStore) -> None:
    windows = np.array([[0, 0, 4], [1, 6, 5]])
    assert store.batch(windows, 4).tolist() == [[0, 1, 2, 0, -1], [106, 107, 108, 109, 0]]


@pytest.mark.parametrize("epoch", range(5))
def test_every_token_is_predicted_in_every_epoch(tmp_path: Path, epoch: int) -> None:
    write_tokens(tmp_path, "train", [document(size) for size in (1, 7, 8, 9, 40, 100)], DOMAINS)
    store = TokenStore.load(tmp_path, "train")
    predicted = np.zeros(len(store.tokens), dtype=int)
    for doc, start, count in store.windows(8, epoch=epoch, seed=3).tolist():
        first = store.doc_start[doc] + start
        predicted[first + 1 : first + count] += 1
    assert predicted[1:].min() == 1


def test_a_window_never_reads_into_the_next_document(store: TokenStore) -> None:
    windows = store.windows(4)
    end_W = store.doc_start[windows[:, 0]] + windows[:, 1] + windows[:, 2]
    assert (end_W <= store.doc_start[windows[:, 0] + 1] + 1).all()  # + 1: the closing token


def test_windows_are_the_same_for_the_same_seed_and_shuffled_anew_every_epoch(
    tmp_path: Path,
) -> None:
    write_tokens(tmp_path, "train", [document(50) for _ in range(20)], DOMAINS)
    store = TokenStore.load(tmp_path, "train")
    first, again, second = (store.windows(8, epoch=epoch, seed=1) for epoch in (0, 0, 1))
    assert (first == again).all()
    assert (first != second).any()
    assert len(first) == len(second) == 20 * 7  # ceil(51 / 8)


def test_domain_sizes_do_not_count_document_starts(store: TokenStore) -> None:
    sizes = domain_sizes(store)
    assert sizes["code"] == {
        "documents": 1,
        "text_bytes": 27,
        "tokens": 9,
        "bytes_per_token": 3.0,
    }


def test_a_missing_store_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="routescope corpus tokenize"):
        TokenStore.load(tmp_path, "train")


def test_tokens_that_do_not_fit_their_index_are_refused(tmp_path: Path) -> None:
    write_tokens(tmp_path, "train", [document(2)], DOMAINS)
    with (tmp_path / "train.tokens.bin").open("ab") as file:
        file.write(b"\x00\x00")
    with pytest.raises(ValueError, match="holds 5 tokens but its index wants 4"):
        TokenStore.load(tmp_path, "train")


def test_the_store_needs_nothing_but_numpy() -> None:
    code = "import sys, data.tokens; print({'pyarrow', 'tokenizers', 'duckdb'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_each_domain_is_drawn_in_an_order_of_its_own(tmp_path: Path) -> None:
    documents = [
        document(8, domain, first=first)
        for domain, first in [("math", 10), ("code", 100), ("math", 20), ("code", 200)]
    ]
    write_tokens(tmp_path, "train", documents, DOMAINS)
    source = DomainWindows(TokenStore.load(tmp_path, "train"), seed=0)
    assert source.corpus_G.tolist() == [0.5, 0.5]
    none_G = np.zeros(2, dtype=np.int64)
    first = source.batch(np.array([0, 1, 0]), none_G, 9)[:, 1]
    assert sorted(first[[0, 2]].tolist()) == [10, 20]  # both of the domain, none twice
    assert first[1] in (100, 200)
    later = source.batch(np.array([1, 0, 0]), np.array([2, 1]), 9)[:, 1]
    assert {int(first[1]), int(later[0])} == {100, 200}
    assert sorted(later[1:].tolist()) == [10, 20]  # used up: again, in another epoch
