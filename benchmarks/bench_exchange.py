"""The shipped models as transformers runs them, and as they come back: logits, choices, bytes.

    python benchmarks/bench_exchange.py

Prints the table of benchmarks/results/exchange_*.md. Compared as in tests/model/exchange/.
"""

import argparse
import tempfile
from pathlib import Path

from transformers.utils import logging

from model.exchange.folders import write_ours, write_theirs
from tests.model.exchange.exchanged import CHECKPOINT, difference, file_bytes, heldout_tokens

TEXTS_AT_ONCE = 4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=48, help="of 512 tokens, the first held out")
    texts = parser.parse_args().texts
    logging.disable_progress_bar()
    print("| model | tokens | compared | logits | weights | ties | other choices | bytes again |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in (CHECKPOINT, CHECKPOINT.with_name("checkpoint_int8")):
        with tempfile.TemporaryDirectory() as place:
            print(row(folder, Path(place), texts=texts), flush=True)


def row(folder: Path, place: Path, *, texts: int) -> str:
    there, back = place / "there", place / "back"
    there.mkdir()
    back.mkdir()
    write_theirs(folder, there)
    write_ours(there, back)
    ids_BS = heldout_tokens(sequences=texts)
    found = [difference(folder, there, batch) for batch in ids_BS.split(TEXTS_AT_ONCE)]
    same = all(file_bytes(folder).get(name) == data for name, data in file_bytes(back).items())
    cells = (
        folder.name,
        f"{ids_BS.numel():,}",
        f"{sum(one.tokens for one in found):,}",
        f"{max(one.logits for one in found):.1e}",
        f"{max(one.weights for one in found):.1e}",
        sum(one.ties for one in found),
        sum(one.unexplained for one in found),
        "yes" if same else "no",
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
