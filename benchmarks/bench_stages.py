"""Tables of the trainings of benchmarks/train_stages.py.

    python benchmarks/bench_stages.py prepare corpus
    python benchmarks/bench_stages.py pack runs/stages

`prepare` writes the held-out texts with typos, `pack` what the repository ships of the trainings.
W = windows, S = positions, P = tokens that are the same in both.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from app.tracing import CHECKPOINT, HELDOUT
from data.tokenizer import load_tokenizer
from data.tokens import END_OF_TEXT_ID
from data.typos import with_typos

WINDOW = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("prepare", "pack"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.folder)


def prepare(corpus: Path) -> None:
    """typos.npz: the first window of every text, clean and mistyped, and which tokens pair up."""
    texts = pq.read_table(HELDOUT, columns=["doc_id", "text"]).to_pandas().sort_values("doc_id")
    encoder = load_tokenizer(CHECKPOINT / "tokenizer.json")
    clean_WS = np.full((len(texts), WINDOW), END_OF_TEXT_ID, dtype=np.uint16)
    typos_WS, pairs = clean_WS.copy(), []
    for row, text in enumerate(texts.text):
        clean, typos = encoder.encode(text), encoder.encode(with_typos(text, seed=row))
        for ids_WS, encoded in ((clean_WS, clean), (typos_WS, typos)):
            ids = encoded.ids[: WINDOW - 1]  # after the end-of-text id that begins every document
            ids_WS[row, 1 : 1 + len(ids)] = ids
        pairs += [(row, a, b) for a, b in paired(clean, typos) if max(a, b) < WINDOW]
    np.savez_compressed(
        corpus / "typos.npz",
        clean_WS=clean_WS,
        typos_WS=typos_WS,
        document_W=texts.doc_id.to_numpy(np.int32),
        pairs=np.array(pairs, dtype=np.uint16),
    )
    print(f"{len(texts)} windows, {len(pairs)} tokens that follow a typo and are none")


def paired(clean, typos) -> list[tuple[int, int]]:  # type: ignore[no-untyped-def]
    """Positions of the tokens of the same text at the same place, after the first typo."""
    place = {
        (offsets, token_id): position
        for position, (offsets, token_id) in enumerate(
            zip(typos.offsets, typos.ids, strict=True), 1
        )
    }
    keys = list(zip(clean.offsets, clean.ids, strict=True))
    first = next((position for position, key in enumerate(keys) if key not in place), len(keys))
    return [
        (position, place[key])
        for position, key in enumerate(keys, 1)
        if position > first and key in place
    ]


if __name__ == "__main__":
    main()
