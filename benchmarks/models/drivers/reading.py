"""What every driver does: each folder's model reads two texts, the tool and plain hooks watch.

Imports nothing of RouteScope but its neighbours: it runs in the environment of the tool.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import Tensor

from benchmarks.models.drivers.ran import Ran, watched


class Layer(NamedTuple):
    """What a tool says of a layer: ids and weights of each token [T, K], or counts [E] alone."""

    ids: Tensor | None = None
    weights: Tensor | None = None
    counts: Tensor | None = None


class Subject(NamedTuple):
    folder: Path
    model: Any
    tokenizer: Any
    ran: Ran

    def inputs(self, text: str) -> dict[str, Tensor]:
        """A decoder beside an encoder gets the same tokens."""
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        names = ["input_ids"] + ["decoder_input_ids"] * bool(self.model.config.is_encoder_decoder)
        return dict.fromkeys(names, ids)

    @property
    def top_k(self) -> int:
        """As it really ran in the first layer: what a user knows of a model."""
        return int(self.ran.chosen[0].sum(-1).max())


Load = Callable[[Path], Any]  # of the model of transformers in a folder, to be watched
Read = Callable[[Subject, str], list[Layer]]


def load_model(folder: Path) -> Any:
    [architecture] = json.loads((folder / "config.json").read_text())["architectures"]
    return getattr(transformers, architecture).from_pretrained(folder).eval()


def drive(read: Read, *, package: str, load: Load = load_model) -> None:
    """FOLDERS TEXTS OUT: a .npz a folder, or a .txt with the error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    texts = json.loads(arguments.texts.read_text())
    versions = {name: version(name) for name in (package, "transformers", "torch")}
    (arguments.out / "versions.json").write_text(json.dumps(versions))
    for folder in sorted(path for path in arguments.folders.iterdir() if path.is_dir()):
        place = arguments.out / folder.name
        try:
            arrays: dict[str, Any] = found(folder, texts, load, read)
            np.savez(place.with_suffix(".npz"), **arrays)
        except Exception as error:  # of a tool: whatever it cannot do
            lines = str(error).strip().splitlines() or [""]
            place.with_suffix(".txt").write_text(f"{type(error).__name__}: {lines[0]}")


def found(folder: Path, texts: list[str], load: Load, read: Read) -> dict[str, Any]:
    """ran.L [T, E], weighed.L [T, E], ids.L, weights.L, counts.L; T of all texts together."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = load(folder)
    ran_of, said_of = [], []
    for text in texts:
        with watched(model) as ran, torch.no_grad():
            said_of.append(read(Subject(folder, model, tokenizer, ran), text))
        ran_of.append(ran)
    columns = {
        "ran": joined([ran.chosen for ran in ran_of]),
        "weighed": joined([ran.weights for ran in ran_of]),
        "ids": joined([[layer.ids for layer in said] for said in said_of]),
        "weights": joined([[layer.weights for layer in said] for said in said_of]),
        "counts": added([[layer.counts for layer in said] for said in said_of]),
    }
    return {
        f"{name}.{layer}": values.numpy()
        for name, layers in columns.items()
        for layer, values in enumerate(layers)
        if values is not None
    }


def joined(by_text: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """By layer, one text after the other; as wide as the widest."""
    layers = list(zip(*by_text, strict=True))
    return [None if parts[0] is None else torch.cat(widened(parts)) for parts in layers]


def added(by_text: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    layers = list(zip(*by_text, strict=True))
    return [None if parts[0] is None else torch.stack(parts).sum(0) for parts in layers]


def widened(parts: tuple[Tensor, ...]) -> list[Tensor]:
    width = max(part.shape[1] for part in parts)
    return [torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts]
