"""What the page says of maps: which texts measure them, what they show, how figures are read."""

import numpy as np

from analysis.placement.sample import PlacedTexts
from analysis.placement.table import BUSIEST
from app.studies.placement import BEFORE, Planned
from app.studies.placement_words import IF_OF_THESE, number, titles, with_interval
from app.views.shared.sampled import sampled
from data.words import counted, listed

LOAD_NOTE = (
    "Load of a GPU over the mean of its layer, on the texts that measure. Orange: above the mean, "
    "blue: below. The slowest GPU of a layer keeps the others waiting."
)
TRAFFIC_NOTE = (
    "Share of a layer's tokens, mean over layers, of which both hold a chosen expert; of several "
    "copies each choice takes one at random. Measured on the same texts as the maps."
)
ONLY_COUNTS = (
    "This trace counts choices and names no token: which GPUs and nodes serve the same token, and "
    "the policy co-activation, are unknown."
)
NONE_READ = (
    "Single choices are read of some texts, and none of them judges this map: which GPUs and nodes "
    "serve the same token is unknown."
)


def traffic_note(texts: PlacedTexts, of: Planned) -> str:
    """And how much was read, where that is not all; what a source of counts does not say."""
    if texts.choices is None:
        return ONLY_COUNTS
    if of.judges.choices is None:
        return NONE_READ
    groups = np.unique(texts.choices.group_T)
    read = {
        "n_documents": int(texts.documents_N[groups].sum()),
        "n_tokens": len(texts.choices.group_T),
    }
    if texts.cut_texts:
        return (
            f"{TRAFFIC_NOTE} Read: {read['n_tokens']:,} of {texts.info.num_tokens:,} tokens; of "
            "texts that are too long the first ones."
        )
    return TRAFFIC_NOTE + sampled(texts.info, read)


def load_note(texts: PlacedTexts) -> str:
    """The same of loads."""
    size_N = texts.loads[None].size_N
    if size_N is None:
        return LOAD_NOTE
    read = {"n_documents": int(texts.documents_N.sum()), "n_tokens": int(size_N.sum())}
    return LOAD_NOTE + sampled(texts.info, read)


def place_of(of: Planned, layer_id: int, expert_id: int) -> str:
    """Where the chosen map puts an expert."""
    by_gpu_HS = of.plans[of.settings.policy].by_gpu[layer_id]
    gpus = np.flatnonzero((by_gpu_HS == expert_id).any(-1)).tolist()
    if len(gpus) == 1:
        return f"lies on GPU {gpus[0]}"
    return f"lies on GPUs {listed(list(map(str, gpus)))}"


def load_answer(of: Planned) -> str:
    before, after = (of.compared.row(plan, BUSIEST) for plan in (BEFORE, of.settings.policy))
    low, high = after.change_low, after.change_high
    old, new = with_interval(before), with_interval(after)
    verb = "falls" if high < 0 else "rises" if low > 0 else "goes"
    change = f"stays at {new}" if old == new else f"{verb} from {old} to {new}"
    unsure = ", which may be chance" if low <= 0 <= high else ""
    if after.note and of.judges.made_none:
        unsure = f": {after.note}"
    which = "texts that did not make" if of.judges.made_none else "the texts that made"
    return (
        f"On {which} the map, the load of a layer's busiest GPU {change} the mean"
        f"{unsure}. Random maps of as many places have {number(after.random, BUSIEST)}, perfect "
        "balance 1×."
    )


def who_measures(of: Planned) -> str:
    number = counted(int(of.compared.table.n_groups.iloc[0]), "group", "groups")
    if not of.judges.made_none:
        return f"Made of {number} of texts and measured on the same."
    said = (
        f"One half of the groups of texts makes every map, the other half, {number}, judges it; "
        "bars are 95 % intervals over these."
    )
    return f"{said} {IF_OF_THESE}" if of.in_use else said


def most_even(of: Planned) -> str:
    """Of maps that may differ by chance alone none is named the best; empty where that is not
    known."""
    best, *others = of.compared.most_even()
    row = of.compared.row(best, BUSIEST)
    if row.note:
        return ""
    names = [titles(of)[plan] for plan in (best, *others)]
    if len(names) == len(of.plans):
        return "No map is surely more even than another."
    if others:
        less = [name for plan, name in titles(of).items() if plan in of.plans and name not in names]
        first = f"{names[0][0].upper()}{names[0][1:]} is the most even of this sample"
        verb = "is" if len(less) == 1 else "are"
        return f"{first}; {listed(names[1:])} may be as even, {listed(less)} {verb} surely less so."
    return (
        f"{names[0][0].upper()}{names[0][1:]} is the most even: its busiest GPU has "
        f"{with_interval(row)} the mean load."
    )
