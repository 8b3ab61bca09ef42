"""The meanings of a colour, each for the text and the layer that are shown.

L = MoE layers, E = routed experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.expert_clusters import NO_CLUSTER, Clusters
from analysis.specialization import label_names
from app.views.prompts.meaning import NO_ENTRY, Amount, Entry, Groups
from app.views.shared.theme import Palette, domain_colors, token_mark
from data.labels import NONE, TOO_LITTLE
from data.routing import NO_EXPERT
from data.words import listed

DOMAIN, EXPERT, CLUSTER = "domain", "expert", "expert cluster"
ENTROPY, LOSS = "gate entropy", "loss"
WORDS, LONGEST = 3, 14  # typical tokens that name a cluster, and the characters of each
USUAL = 0.95  # of the known losses of a text: so many are within the scale
UNKNOWN = Entry(name="unknown", color="")


@dataclass(frozen=True, slots=True)
class Layer:
    layer_id: int
    name: str
    sizes: tuple[int, ...]  # experts of every layer
    where: str  # it is known what experts are: how that trace is called

    @property
    def num_experts(self) -> int:
        return self.sizes[self.layer_id]


def by_domain(
    here: pd.DataFrame,
    palette: Palette,
    layer: Layer,
    label_LE: np.ndarray | None,
    *,
    domains: Sequence[str],
) -> Groups:
    """label_LE: places in label_names(domains); None: not known."""
    names = [] if label_LE is None else label_names(domains)
    colors = domain_colors(names, palette)
    entries = [
        Entry(name=name, color=colors[name], quiet=place >= len(domains))
        for place, name in enumerate(names)
    ]
    if label_LE is None:
        label_LE = _nowhere(layer)
        note = f"No colour: {layer.where} does not tell which domain an expert prefers."
    elif (label_LE[layer.layer_id] >= len(domains)).all():
        note = f"No colour: in {layer.where} no expert of {layer.name} prefers a domain."
    else:
        note = f"Colour: the domain that the expert prefers in {layer.where}."
    answer = ""
    if most := _largest(label_LE[layer.layer_id], here, count=len(domains)):
        domain = "domain that these experts prefer most often"
        answer = _most_often(domain, [names[place] for place in most[0]], most[1])
        label_T = label_LE[layer.layer_id][here.expert_id[here.expert_id != NO_EXPERT]]
        none = int((label_T % len(names) == names.index(NONE)).sum()) / len(here)
        if none > most[1]:
            answer += f"; {none:.0%} of the tokens are with experts that prefer none"
        answer += "."
    return Groups(
        by=DOMAIN,
        title="Domain that the expert prefers",
        answer=answer,
        note=note,
        entries=tuple(entries),
        everywhere=bool(names),
        entry_LE=label_LE,
        neutral=palette.neutral,
    )


def by_expert(here: pd.DataFrame, palette: Palette, layer: Layer) -> Groups:
    """A colour of its own for each of the experts that most tokens chose first; the rest share
    one."""
    counts = here.expert_id[here.expert_id != NO_EXPERT].value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    named, others = counts.index[: len(palette.distinct)], counts.index[len(palette.distinct) :]
    entries = [
        Entry(name=f"expert {expert}", color=color)
        for expert, color in zip(named, palette.distinct, strict=False)
    ]
    entry_LE = _nowhere(layer)
    entry_LE[layer.layer_id, named] = np.arange(len(named))
    note = "Colour: the expert."
    if len(others):
        entry_LE[layer.layer_id, others] = len(entries)
        detail = f"{len(others)} experts" if len(others) > 1 else f"expert {others[0]}"
        entries.append(
            Entry(name="other experts", color=palette.neutral, detail=detail, quiet=True)
        )
        note = (
            f"Colour: the expert, of the {len(named)} that most tokens of this text choose first "
            f"in {layer.name}."
        )
    return Groups(
        by=EXPERT,
        title="Expert",
        note=note,
        entries=tuple(entries),
        everywhere=False,
        entry_LE=entry_LE,
        neutral=palette.neutral,
    )


def by_cluster(here: pd.DataFrame, palette: Palette, layer: Layer, found: Clusters) -> Groups:
    """`found` of this layer, its typical tokens with their text."""
    entries = [_cluster_entry(found, place, palette) for place in range(found.count)]
    entry_LE = _nowhere(layer)
    note = f"No colour: there are no clusters of the experts of {layer.name} in "
    note += f"{layer.where}, because {found.reason}."
    if entries:
        entry_LE[layer.layer_id, : layer.num_experts] = found.cluster_E
        note = (
            f"Colour: the cluster of the expert. Experts of {layer.name} that are chosen "
            f"for similar tokens in {layer.where} form a cluster, named after its most typical "
            "tokens. From one half of the texts clusters are much as from the other: adjusted Rand "
            f"index {found.agreement:.2f}, where 0 is chance and 1 the same."
        )
    unknown_E = found.cluster_E == NO_CLUSTER
    if entries and unknown_E.any():
        entry_LE[layer.layer_id, np.flatnonzero(unknown_E)] = len(entries)
        detail = _listed(np.flatnonzero(unknown_E))
        entries.append(Entry(name=TOO_LITTLE, color=palette.neutral, detail=detail, quiet=True))
    answer = ""
    if most := _largest(found.cluster_E, here, count=found.count):
        named = [entries[place] for place in most[0]]
        chosen = "cluster of experts that is chosen most often"
        if len(named) > 1:
            chosen = "cluster of experts that are chosen most often"
        answer = _most_often(chosen, [one.name for one in named], most[1])
        if len(named) == 1 and named[0].words:
            answer += f", typical of {', '.join(f'“{word}”' for word in named[0].words)}"
        answer += "."
    return Groups(
        by=CLUSTER,
        title="Cluster of experts",
        answer=answer,
        note=note,
        entries=tuple(entries),
        everywhere=False,
        entry_LE=entry_LE,
        neutral=palette.neutral,
    )


def by_entropy(here: pd.DataFrame, palette: Palette, layer: Layer) -> Amount:
    most_L = np.log(layer.sizes)
    most = float(most_L[layer.layer_id])
    limit = f"ln {layer.num_experts} = {most:.2f}"
    known = here.entropy.dropna()
    note = (
        f"Colour: the entropy of the gate in {layer.name}, from 0 nats (one expert is "
        f"certain) to {limit} (all are equally likely)."
    )
    uneven = len(set(layer.sizes)) > 1
    if uneven:
        note += " Every layer has a scale of its own, as far as its number of experts allows."
    answer = ""
    if known.empty:
        note = (
            "No colour: this trace has the choices of the gate and not its probabilities, so the "
            "entropy is unknown."
        )
    else:
        answer = f"The entropy of the gate is {known.mean():.2f} nats on average, of at most "
        answer += f"{limit}."
    return Amount(
        by=ENTROPY,
        title="Entropy of the gate, nats",
        answer=answer,
        note=note,
        entries=(UNKNOWN,) if len(known) < len(here) else (),
        everywhere=not known.empty,
        column="entropy",
        high=max(most, 1e-9),
        high_L=np.fmax(most_L, 1e-9) if uneven else None,
        palette=palette,
        marks=("0", f"{most / 2:.1f}", limit),
    )


def by_loss(here: pd.DataFrame, palette: Palette) -> Amount:
    known = here.loss.dropna()
    high = np.ceil(2 * known.quantile(USUAL)) / 2 if len(known) else 1.0
    high = max(float(high), 0.5)
    note = "No colour: the loss of these tokens is unknown."
    answer = ""
    if len(known):
        answer = f"The loss is {known.mean():.2f} nats on average."
        note = (
            "Colour: the loss of each token given those before it, which is the same in every "
            f"layer. Of the known ones at least {USUAL:.0%} are within the scale."
        )
    beyond = "≥ " if (known > high).any() else ""
    return Amount(
        by=LOSS,
        title="Loss, nats",
        answer=answer,
        note=note,
        entries=(UNKNOWN,) if len(known) < len(here) else (),
        everywhere=False,
        column="loss",
        high=high,
        palette=palette,
        marks=("0", f"{high / 2:.2g}", f"{beyond}{high:.2g}"),
    )


def _most_often(what: str, names: list[str], share: float) -> str:
    if len(names) == 1:
        return f"The {what} is {names[0]} ({share:.0%} of the tokens)"
    several = what.replace("domain", "domains", 1).replace("cluster", "clusters", 1)
    return f"The {several} are {listed(names)} ({share:.0%} of the tokens each)"


def _largest(
    group_E: np.ndarray, here: pd.DataFrame, *, count: int
) -> tuple[list[int], float] | None:
    """Of the groups 0 to count - 1 of experts those of most rows, and the share of each of all
    rows."""
    groups = group_E[here.expert_id[here.expert_id != NO_EXPERT]]
    counts = np.bincount(groups[(groups >= 0) & (groups < count)], minlength=1)
    if not counts.any():
        return None
    return np.flatnonzero(counts == counts.max()).tolist(), counts.max() / len(here)


def _cluster_entry(found: Clusters, place: int, palette: Palette) -> Entry:
    texts = found.typical.text[found.typical.cluster == place]
    words = list(dict.fromkeys(map(_word, texts)))[:WORDS]
    name, experts = f"cluster {place + 1}", _listed(np.flatnonzero(found.cluster_E == place))
    return Entry(
        name=name,
        color=palette.distinct[place],
        words=tuple(words),
        detail=f"{name} · {experts}" if words else experts,
    )


def _word(text: str) -> str:
    word = token_mark(text).strip(" ")
    return word if len(word) <= LONGEST else f"{word[: LONGEST - 1]}…"


def _listed(experts: np.ndarray) -> str:
    return f"{'expert' if len(experts) == 1 else 'experts'} {', '.join(map(str, experts))}"


def _nowhere(layer: Layer) -> np.ndarray:
    return np.full((len(layer.sizes), max(layer.sizes)), NO_ENTRY)
