"""What a user has chosen to look at: on every page the same, and in every link."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from app.views.shared.layer_names import LayerNames

Link = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Parts of one trace, the most recently chosen first; an empty part leaves a page its own."""

    trace: str = ""
    layers: tuple[int, ...] = ()  # layer_id
    experts: tuple[tuple[int, int], ...] = ()  # layer_id, expert_id
    domains: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # the first doc_id of each
    phase: str = ""
    texts: tuple[int, ...] = ()  # doc_id
    tokens: tuple[tuple[int, int], ...] = ()  # doc_id, position

    def without(self, part: str, value: object = None) -> "Selection":
        """Without one value of a part, or without the part."""
        kept = () if value is None else tuple(one for one in getattr(self, part) if one != value)
        changed: dict[str, Any] = {part: kept or EMPTY[part]}
        return replace(self, **changed)


PARAMETERS = {  # in a link, by part
    "trace": "trace",
    "layers": "layer",
    "experts": "expert",
    "domains": "domain",
    "groups": "group",
    "phase": "phase",
    "texts": "text",
    "tokens": "token",
}
EMPTY: dict[str, Any] = {field.name: field.default for field in fields(Selection)}


def link(selection: Selection, names: LayerNames) -> Link:
    """Its parameters, without those of empty parts; layers as pages call them."""
    written = {
        "trace": [selection.trace],
        "layer": [names.choice(layer) for layer in selection.layers],
        "expert": [expert_words(one, names) for one in selection.experts],
        "domain": list(selection.domains),
        "group": list(map(str, selection.groups)),
        "phase": [selection.phase],
        "text": list(map(str, selection.texts)),
        "token": [f"{doc_id}:{position}" for doc_id, position in selection.tokens],
    }
    return {name: values for name, values in written.items() if any(values)}


def expert_words(expert: tuple[int, int], names: LayerNames) -> str:
    """As people write it, LAYER:EXPERT."""
    layer_id, expert_id = expert
    return f"{names.choice(layer_id)}:{expert_id}"


def from_link(
    asked: Mapping[str, Sequence[str]], names: LayerNames, num_layers: int
) -> tuple[Selection, list[str]]:
    """What a link asks for, and in words what of it cannot be read. Whether the trace has it is
    another question: `Checked`."""
    known = {names.choice(layer_id): layer_id for layer_id in range(num_layers)}
    read = _Reader(known)
    layers = read.each(asked, "layer", read.layer)
    first = layers[0] if layers else 0
    texts = read.each(asked, "text", read.number)
    of_text = texts[0] if texts else 0
    selection = Selection(
        trace=next(iter(asked.get("trace", ())), ""),
        layers=layers,
        experts=read.each(asked, "expert", lambda word: read.pair(word, read.layer, first)),
        domains=tuple(dict.fromkeys(asked.get("domain", ()))),
        groups=read.each(asked, "group", read.number),
        phase=next(iter(asked.get("phase", ())), ""),
        texts=texts,
        tokens=read.each(asked, "token", lambda word: read.pair(word, read.number, of_text)),
    )
    return selection, read.unknown


class _Reader:
    def __init__(self, layers: Mapping[str, int]) -> None:
        self.layers = layers
        self.unknown: list[str] = []

    def each(self, asked: Mapping[str, Sequence[str]], name: str, value: Any) -> Any:
        """The values of one parameter, each once."""
        found = []
        for word in asked.get(name, ()):
            try:
                found.append(value(word))
            except ValueError:
                self.unknown.append(f"{name} {word[:60]}")
        return tuple(dict.fromkeys(found))

    def layer(self, word: str) -> int:
        if word not in self.layers:
            raise ValueError
        return self.layers[word]

    def number(self, word: str) -> int:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            raise ValueError
        return int(word)

    def pair(self, word: str, of: Any, usual: int) -> tuple[int, int]:
        """3:17; without a colon the second of a pair whose first is known."""
        first, colon, second = word.rpartition(":")
        return (of(first) if colon else usual), self.number(second)
