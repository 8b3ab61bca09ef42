"""What pages call the MoE layers of a trace: layer 0, layer 1, ... where all are of one kind, else
by what tells their kinds apart, such as encoder 1 and decoder 3."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.kept import layer_numbers
from app.trace import Trace
from app.views.shared.theme import layer_step, literal

PARTS = re.compile(r"\w+")  # of a name: what is shown of them is plain text everywhere
LONGEST = 40  # characters
WORDS = {  # in the name of a module: as people say it; the first that is found
    "encoder": "encoder",
    "decoder": "decoder",
    "vision": "vision",
    "visual": "vision",
    "image": "vision",
    "audio": "audio",
    "text": "text",
    "language": "text",
    "attn": "attention",
    "attention": "attention",
    "mlp": "MLP",
    "ffn": "MLP",
    "feed_forward": "MLP",
}
PLURALS = {"layers": "layer", "blocks": "block"}


@dataclass(frozen=True, slots=True)
class LayerNames:
    """By layer_id; without any, layers are numbered."""

    full: tuple[str, ...] = ()  # what the model calls them
    numbers: tuple[int, ...] = ()  # in the model, where a trace does not have all of them
    short: tuple[str, ...] = ()  # none where layers are of one kind, or nothing tells them apart

    def __getitem__(self, layer_id: int) -> str:
        """To stand in a sentence: layer 3, or encoder 1."""
        return self.short[layer_id] if self.short else f"layer {self.number(layer_id)}"

    def number(self, layer_id: int) -> int:
        """Of a MoE layer in the model."""
        return self.numbers[layer_id] if self.numbers else layer_id

    def first(self, layer_id: int) -> str:
        """At the beginning of a sentence."""
        return self[layer_id][0].upper() + self[layer_id][1:]

    def choice(self, layer_id: int) -> str:
        """Under the words "MoE layer"."""
        return self.short[layer_id] if self.short else str(self.number(layer_id))

    def hover(self, layer_id: int) -> str:
        """For a figure's tooltip: with the number and the model's own name where there are kinds;
        escaped."""
        if not self.short:
            return self[layer_id]
        return literal(f"{self[layer_id]} (layer {self.number(layer_id)}, {self.full[layer_id]})")

    def labels(self, num_layers: int) -> list[str]:
        """Of the rows of a heatmap, escaped."""
        return [literal(self[layer_id]) for layer_id in range(num_layers)]

    def axis(self, num_layers: int, *, step: int | None = None) -> dict[str, Any]:
        """Of an axis on which a layer stands at its number."""
        step = step or layer_step(num_layers)
        shown = list(range(0, num_layers, step))
        texts = [literal(self.choice(layer_id)) for layer_id in shown]
        return {"title_text": "MoE layer", "tickvals": shown, "ticktext": texts}


NUMBERED = LayerNames()


def names_of(trace: Trace) -> LayerNames:
    numbers = layer_numbers(trace.info.config, trace.info.num_layers)
    return layer_names([layer.name for layer in trace.info.layers], numbers or ())


def as_in_model(table: pd.DataFrame, trace: Trace) -> pd.DataFrame:
    """layer_id and expert_<layer_id> as the model counts its MoE layers, where a trace does not
    have all of them."""
    numbers = dict(enumerate(names_of(trace).numbers))
    if not numbers:
        return table
    table = table.rename(
        columns={f"expert_{layer_id}": f"expert_{number}" for layer_id, number in numbers.items()}
    )
    if "layer_id" not in table:
        return table
    return table.assign(layer_id=table.layer_id.replace(numbers))


def layer_names(full: Sequence[str], numbers: tuple[int, ...] = ()) -> LayerNames:
    kinds = [_kind(name) for name in full]
    if len(set(kinds)) == 1:
        return LayerNames(tuple(full), numbers)
    common = set.intersection(*(set(kind) for kind in kinds))
    short = []
    for name, kind in zip(full, kinds, strict=True):
        own = [part for part in kind if part not in common]
        like = [_numbers(other) for other, of in zip(full, kinds, strict=True) if of == kind]
        short.append(" ".join([_words(own), *_number(_numbers(name), like)]))
    if len(set(short)) < len(short) or max(map(len, short)) > LONGEST:
        return LayerNames(tuple(full), numbers)
    return LayerNames(tuple(full), numbers, tuple(short))


def _kind(name: str) -> tuple[str, ...]:
    """A name without its numbers: layers.3.mlp and layers.4.mlp are of one kind."""
    return tuple(part for part in PARTS.findall(name) if not part.isdigit())


def _numbers(name: str) -> list[str]:
    return [part for part in PARTS.findall(name) if part.isdigit()]


def _number(numbers: list[str], like: list[list[str]]) -> list[str]:
    """Those that tell a layer from others of its kind, or the first."""
    places = [place for place, of in enumerate(zip(*like, strict=False)) if len(set(of)) > 1]
    return [".".join(numbers[place] for place in places)] if places else numbers[:1]


def _words(parts: Sequence[str]) -> str:
    """What only this kind's names say, in known words if there are any."""
    known = [_word(part) for part in parts]
    said = list(dict.fromkeys(word for word in known if word))
    others = [PLURALS.get(part, part).replace("_", " ") for part in parts]
    return " ".join(said or others) or "layer"


def _word(part: str) -> str:
    return next((word for piece, word in WORDS.items() if piece in part.lower()), "")
