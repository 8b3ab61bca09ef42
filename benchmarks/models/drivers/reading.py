"""What every driver does: each folder's model reads two texts, the tool and plain hooks watch.

Imports nothing of RouteScope: it runs in the environment of the tool.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from ran import Ran, watched
from torch import Tensor


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
            np.savez(place.with_suffix(".npz"), **found(folder, texts, load, read))
        except Exception as error:  # of a tool: whatever it cannot do
            lines = str(error).strip().splitlines() or [""]
            place.with_suffix(".txt").write_text(f"{type(error).__name__}: {lines[0]}")


def found(folder: Path, texts: list[str], load: Load, read: Read) -> dict[str, np.ndarray]:
    """ran.L [T, E], weighed.L [T, E], ids.L, weights.L, counts.L; T of all texts together."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = load(folder)
    ran_of, said_of = [], []
    for text in texts:
        with watched(model) as ran, torch.no_grad():
            said_of.append(read(Subject(folder, model, tokenizer, ran), text))
        ran_of.append(ran)
    arrays = {}
    for layer, (chosen, weights) in enumerate(
        zip(joined([ran.chosen for ran in ran_of]), joined([ran.weights for ran in ran_of]))
    ):
        arrays |= {f"ran.{layer}": chosen}
        arrays |= {} if weights is None else {f"weighed.{layer}": weights}
    for name in ("ids", "weights"):
        for layer, values in enumerate(joined([[getattr(x, name) for x in s] for s in said_of])):
            arrays |= {} if values is None else {f"{name}.{layer}": values}
    for layer, counts in enumerate(zip(*([x.counts for x in said] for said in said_of))):
        arrays |= {} if counts[0] is None else {f"counts.{layer}": sum(counts)}
    return {name: values.detach().numpy() for name, values in arrays.items()}


def joined(by_text: list[list[Tensor | None]]) -> list[Tensor | None]:
    """By layer, one text after the other; as wide as the widest."""
    layers = list(zip(*by_text, strict=True))
    return [None if parts[0] is None else torch.cat(widened(parts)) for parts in layers]


def widened(parts: tuple[Tensor, ...]) -> list[Tensor]:
    width = max(part.shape[1] for part in parts)
    return [torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts]
