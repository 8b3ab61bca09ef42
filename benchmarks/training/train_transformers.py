"""Models of transformers, trained side by side on one GPU as `routescope train` trains them.

    python benchmarks/training/train_transformers.py pack corpus --into pack --megabytes 54
    python benchmarks/training/train_transformers.py train pack --runs runs/transformers --minutes 8

`pack` makes a small folder of a tokenized corpus: as many whole texts as fit, drawn evenly, and all
that is held out. `train` needs no other library than torch, transformers and NumPy. It first
measures how fast the models train together, then takes as many steps as the time allows.
N = documents.
"""

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from data.strict_json import json_text, read_object
from data.tokenizer import save_with_start
from data.tokens import TokenStore, batches, corpus_identity
from data.training_folder import TrainingFolder
from model.evaluation import bits_per_byte, document_nats, evaluation_batches
from model.training.batches import PlainBatches
from model.training.snapshots import Sample
from model.training.train_config import TrainConfig
from model.training.trainer import Progress, Trainer
from model.training.transformers_config import read_config
from model.training.transformers_model import TransformersModel

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = ("qwen3_moe", "olmoe")
BATCH_SIZE = 128  # sequences of 512 tokens
TRIAL = 80  # steps, of which the second half is timed
MOST_STEPS = 6_000
RESERVE = 45  # seconds, to save and to evaluate
SPLITS = ("train", "heldout")


def main() -> None:
    arguments = asked()
    if arguments.what == "pack":
        pack(arguments.folder, arguments.into, round(arguments.megabytes * 1e6))
    elif arguments.one:
        train_one(arguments.one, arguments)
    else:
        train_all(arguments)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pack", "train"))
    parser.add_argument("folder", type=Path, help="A tokenized corpus, or what `pack` made of one.")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--megabytes", type=float, default=54.0)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, help="Instead of what the time allows.")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--only", default=",".join(NAMES), help="Names, comma-separated.")
    parser.add_argument("--one", help="A name, in this process.")
    return parser.parse_args()


def pack(corpus: Path, into: Path, size: int) -> None:
    """The held-out split whole; of the other one as much as is left of `size` bytes."""
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(corpus / "tokenizer.json", into / "tokenizer.json")
    heldout, training = (TokenStore.load(corpus, split) for split in reversed(SPLITS))
    write_packed(into, "heldout", heldout, np.arange(len(heldout.domain_id)))
    left = size - sum(path.stat().st_size for path in into.iterdir())
    order_N = np.random.default_rng(0).permutation(len(training.domain_id))
    probe_N = np.sort(order_N[: len(order_N) // 20])  # how far a twentieth is compressed
    share = left / (20 * write_packed(into, "train", training, probe_N))
    while True:
        chosen_N = np.sort(order_N[: int(min(1.0, share) * len(order_N))])
        written = write_packed(into, "train", training, chosen_N)
        tokens = int(np.diff(training.doc_start)[chosen_N].sum())
        print(f"{len(chosen_N):,} texts, {tokens / 1e6:.1f} M tokens, {written / 1e6:.1f} MB")
        if written <= left:
            return
        share *= 0.995 * left / written


def write_packed(into: Path, split: str, store: TokenStore, chosen_N: np.ndarray) -> int:
    """Bytes written, of some documents."""
    size_N = np.diff(store.doc_start)[chosen_N]
    start_N = np.concatenate([[0], np.cumsum(size_N)])
    tokens = np.zeros(start_N[-1] + 1, np.uint16)
    for place, document in enumerate(chosen_N):
        begin, end = store.doc_start[document : document + 2]
        tokens[start_N[place] : start_N[place + 1]] = store.tokens[begin:end]
    packed = lzma.compress(tokens.tobytes(), filters=[LZMA])
    (into / f"{split}.tokens.xz").write_bytes(packed)
    np.savez_compressed(
        into / f"{split}.index.npz",
        doc_start=start_N,
        domain_id=store.domain_id[chosen_N],
        bytes_per_doc=store.bytes_per_doc[chosen_N],
        domains=np.array(store.domains),
    )
    return len(packed) + (into / f"{split}.index.npz").stat().st_size


# 16-bit values; a dictionary of 64 MB finds what is repeated far away
LZMA = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 64 * 2**20, "lc": 0, "lp": 1, "pb": 1}


def unpack(packed: Path, corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for path in packed.iterdir():
        if path.suffix == ".xz":
            target = corpus / path.with_suffix(".bin").name
            target.write_bytes(lzma.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, corpus / path.name)


def train_all(arguments: argparse.Namespace) -> None:
    """Each in a process of its own; once more uncompiled, if one fails."""
    began = time.monotonic()
    corpus = arguments.runs / "corpus"
    unpack(arguments.folder, corpus)
    names = arguments.only.split(",")
    left = {name: start(name, corpus, arguments, began) for name in names}
    failed = [name for name, process in left.items() if process.wait()]
    again = {name: start(name, corpus, arguments, began, compiled=False) for name in failed}
    if lost := [name for name, process in again.items() if process.wait()]:
        raise SystemExit(f"not trained: {', '.join(lost)}")


def start(
    name: str, corpus: Path, arguments: argparse.Namespace, began: float, *, compiled: bool = True
) -> "subprocess.Popen[bytes]":
    minutes = arguments.minutes - (time.monotonic() - began) / 60
    command = [sys.executable, sys.argv[0], "train", str(corpus), "--one", name]
    command += ["--runs", str(arguments.runs), "--minutes", str(minutes)]
    command += ["--batch-size", str(arguments.batch_size)]
    command += ["--steps", str(arguments.steps)] if arguments.steps else []
    shutil.rmtree(arguments.runs / name, ignore_errors=True)
    switch = {} if compiled else {"TORCHDYNAMO_DISABLE": "1"}
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "4"} | switch)


def train_one(name: str, arguments: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * arguments.minutes - RESERVE
    torch.set_float32_matmul_precision("high")
    trial = arguments.runs / f"{name}.trial"
    shutil.rmtree(trial, ignore_errors=True)
    steps = arguments.steps or affordable(name, trial, arguments, deadline)
    shutil.rmtree(trial, ignore_errors=True)
    folder = arguments.runs / name
    trainer, model = prepared(name, folder, steps, arguments)
    began = time.perf_counter()
    finished = trainer.run(on_progress=Printed(name), should_stop=lambda: over(deadline))
    seconds = time.perf_counter() - began
    told = {"steps": trainer.step, "of": steps, "tokens": trainer.tokens, "seconds": seconds}
    print(f"{name}: {json.dumps(told)}", flush=True)
    if not finished:
        model.save(model.module, folder, stage=trainer.span().stage)
    evaluate(model, folder, arguments.folder)
    TrainingFolder(folder).progress.unlink(missing_ok=True)


def affordable(name: str, folder: Path, arguments: argparse.Namespace, deadline: float) -> int:
    """Steps until the deadline, as fast as some were while the others ran theirs."""
    trainer, _ = prepared(name, folder, MOST_STEPS, arguments)
    times: list[float] = []

    def note(done: Progress) -> None:
        times.append(time.perf_counter())

    trainer.run(on_progress=note, should_stop=lambda: trainer.step >= TRIAL)
    per_step = (times[-1] - times[len(times) // 2 - 1]) / (TRIAL / 2)
    left = deadline - time.monotonic()
    print(f"{name}: {per_step * 1e3:.0f} ms a step, {left:.0f} s left", flush=True)
    return int(min(MOST_STEPS, max(TRIAL, 0.93 * left / per_step)))


def over(deadline: float) -> bool:
    return time.monotonic() > deadline


class Printed:
    """Every tenth report."""

    def __init__(self, name: str) -> None:
        self.name, self.reports = name, 0

    def __call__(self, done: Progress) -> None:
        self.reports += 1
        if self.reports % 10 == 1:
            rate = f"{done.tokens_per_second / 1e3:,.0f} k tokens/s"
            print(f"{self.name}: step {done.step}, loss {done.loss:.3f}, {rate}", flush=True)


def prepared(
    name: str, folder: Path, steps: int, arguments: argparse.Namespace
) -> tuple[Trainer, TransformersModel]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = CONFIGS / f"{name}.json"
    model = TransformersModel(
        read_config(read_object(path, remedy="restore it"), path), device=device
    )
    corpus: Path = arguments.folder
    training, heldout = (TokenStore.load(corpus, split) for split in SPLITS)
    length = model.context_length
    schedule = TrainConfig(
        steps=steps,
        batch_size=arguments.batch_size,
        learning_rate=2e-3,
        warmup_steps=min(150, steps),
        checkpoint_every=100_000,  # only where it stops
    )
    batch_of = batches(training, length, arguments.batch_size, seed=schedule.seed)
    trainer = Trainer(
        model,
        schedule,
        folder,
        batches=PlainBatches(batch_of),
        sample=Sample(*heldout.opening_windows(length), heldout.domains),
        corpus=corpus_identity(corpus),
    )
    return trainer, model


def evaluate(model: TransformersModel, folder: Path, corpus: Path) -> None:
    """As `routescope train` does: tokenizer.json and evaluation.json."""
    save_with_start(corpus / "tokenizer.json", folder / "tokenizer.json")
    heldout = TokenStore.load(corpus, "heldout")
    texts = evaluation_batches(
        heldout.tokens, heldout.doc_start, length=model.context_length, batch_size=64
    )
    nats_N = document_nats(model.reloaded(folder), texts, num_documents=len(heldout.domain_id))
    bits = bits_per_byte(nats_N, heldout.bytes_per_doc, heldout.domain_id, heldout.domains)
    TrainingFolder(folder).evaluation.write_text(json_text(bits, indent=2) + "\n")
    print(f"{folder.name}: {json.dumps(bits)}", flush=True)


if __name__ == "__main__":
    main()
