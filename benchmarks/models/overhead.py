"""What a capture of a model of transformers takes over its bare forward."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.capture.subject import description, documents_of
from benchmarks.capture.turns import interleaved
from data.store import TraceStore
from model.capture import (
    WINDOW_BATCHES,
    batches,
    capture_documents,
    pad_sequences,
    token_loss,
    windows,
)
from model.encoded import Encoded
from model.huggingface.model import HuggingFaceModel
from model.recording import recorded_routing

BARE = "bare forward"  # which makes logits
LOSS = "forward and loss"
RECORDED = "and recorded"
STORED = "and stored: the whole capture"


@dataclass(frozen=True)
class Over:
    """Percent over another way in the same repetition: medians, and the range in wall time."""

    wall: float
    cpu: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Overhead:
    tokens: int
    padded: int  # with padding
    seconds: dict[str, tuple[float, float]]  # (wall, CPU), medians
    over: dict[str, Over]  # the bare forward
    over_loss: Over  # the whole capture over a forward with loss


def overhead(model: HuggingFaceModel, *, tokens: int, repetitions: int) -> Overhead:
    """Of a capture over bare forwards of the same batches."""
    encoded = documents_of(model, tokens)
    groups = grouped(encoded, model.batch_tokens, WINDOW_BATCHES[model.device.type])

    def bare() -> None:
        for group in groups:
            model.logits(pad_sequences(model, group)[0])

    def with_loss() -> None:
        for group in groups:
            ids_BS, _ = pad_sequences(model, group)
            token_loss(model.logits(ids_BS), ids_BS.roll(-1, dims=1).flatten())

    def recorded() -> None:
        with recorded_routing(model) as recording:
            for group in groups:
                ids_BS, rows_R = pad_sequences(model, group)
                loss_T = token_loss(model.logits(ids_BS), ids_BS.roll(-1, dims=1).flatten())
                recording.transfer(rows_R, loss_T[rows_R - 1]).wait()

    def stored() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.duckdb"
            with TraceStore.create(path, description(model)) as store:
                capture_documents(model, [item.document for item in encoded], store)

    variants: dict[str, Callable[[], None]] = {
        BARE: bare,
        LOSS: with_loss,
        RECORDED: recorded,
        STORED: stored,
    }
    seconds = interleaved(variants, repetitions, model.device)
    medians = {name: np.median(each, axis=0).tolist() for name, each in seconds.items()}
    return Overhead(
        tokens=sum(len(item.token_ids) for item in encoded),
        padded=sum(pad_sequences(model, group)[0].numel() for group in groups),
        seconds={name: (wall, cpu) for name, (wall, cpu) in medians.items()},
        over={name: over(each, seconds[BARE]) for name, each in seconds.items()},
        over_loss=over(seconds[STORED], seconds[LOSS]),
    )


def over(each: list[tuple[float, float]], other: list[tuple[float, float]]) -> Over:
    percent = 100 * (np.array(each) / np.array(other) - 1)
    wall, cpu = np.median(percent, axis=0).tolist()
    lowest, highest = percent[:, 0].min(), percent[:, 0].max()
    return Over(wall=wall, cpu=cpu, lowest=float(lowest), highest=float(highest))


def grouped(encoded: list[Encoded], batch_tokens: int, window_batches: int) -> list[list[Encoded]]:
    """The batches that a capture makes, window by window."""
    return [
        [window[index] for index in batch]
        for window in windows(encoded, tokens=window_batches * batch_tokens)
        for batch in batches(window, tokens=batch_tokens)
    ]
