"""The integrity report: what can be wrong with a dump, what that does to figures, what is done.

One row a kind: importers and checks report by its name, so that the words are in one place.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from data.routing import FATAL, NOTE, WARNING, Finding


@dataclass(frozen=True, slots=True)
class Kind:
    severity: str
    unit: str  # that occur
    effect: str  # on the figures
    done: str  # about it


KINDS = {
    "no-pass-for-last-token": Kind(
        NOTE,
        "texts",
        "The last token of a text has no routing: a sampled token is routed when it is read",
        "the token is in the text and has no row",
    ),
    "rows-against-tokens": Kind(
        FATAL,
        "texts",
        "Rows of routing and tokens differ in number, so rows may stand beside the wrong token: "
        "loads are right, figures of tokens and vocabulary may be wrong",
        "rows were counted from the first token; rows beyond the last have no token",
    ),
    "unrecorded-tokens": Kind(
        NOTE,
        "tokens",
        "Tokens of the texts without routing, such as a prompt of which the answer alone was "
        "recorded: every figure is of the others",
        "they have no row",
    ),
    "missing-rows": Kind(
        WARNING,
        "tokens",
        "Tokens without routing (every id is -1), as where an engine took them from its prefix "
        "cache: shared beginnings count less than they occur",
        "they have no row",
    ),
    "zero-rows": Kind(
        WARNING,
        "tokens",
        "Tokens whose every choice is expert 0, which no gate chooses twice: the recorder missed "
        "them",
        "they have no row",
    ),
    "constant-rows": Kind(
        WARNING,
        "tokens",
        "Tokens with the routing of the token before them in every layer, 16 or more in a row: "
        "most likely stale rows of the recorder",
        "they are stored as they are",
    ),
    "dense-layers": Kind(
        NOTE,
        "layers",
        "Layers whose every choice is expert 0, which are dense layers by what was given",
        "they are left out; layers keep the names that they have in the model",
    ),
    "zero-layers": Kind(
        WARNING,
        "layers",
        "Layers whose every choice is expert 0, or nothing: dense layers read so, and layers that "
        "the recorder missed",
        "they are left out; --layers all says that they are dense, --layers moe that they are not",
    ),
    "missed-layers": Kind(
        FATAL,
        "layers",
        "MoE layers, by what was given, without any usable choice: the recorder missed them, and "
        "their figures are empty",
        "they are stored without routing",
    ),
    "constant-layers": Kind(
        WARNING,
        "layers",
        "Layers in which every token chose the same experts: no gate of a trained model does, so "
        "the recorder may have repeated one row",
        "they are stored as they are",
    ),
    "zero-decisions": Kind(
        WARNING,
        "decisions",
        "Single decisions whose every choice is expert 0, beside others that are not",
        "they are stored without choices",
    ),
    "repeated-experts": Kind(
        WARNING,
        "decisions",
        "Decisions that name one expert twice, which no gate chooses",
        "they are stored without choices",
    ),
    "unknown-experts": Kind(
        FATAL,
        "decisions",
        "Decisions with an id below -1, or of an expert that the layer does not have: ids may be "
        "physical (--physical-map), or --num-experts is too small; loads lack them",
        "they are stored without choices",
    ),
    "incomplete-decisions": Kind(
        WARNING,
        "decisions",
        "Decisions of fewer experts than the layer chooses",
        "they are stored without choices",
    ),
    "physical-ids": Kind(
        NOTE,
        "choices",
        "Ids name physical experts, of which several can be copies of one",
        "they were mapped to logical experts; the counts of copies sum to those",
    ),
    "last-map-only": Kind(
        WARNING,
        "files",
        "The file holds one map of physical experts, the last: if experts were moved while it was "
        "recorded, earlier choices are mapped wrongly",
        "all ids were mapped by it",
    ),
    "ranks-disagree": Kind(
        FATAL,
        "passes",
        "Ranks recorded different choices for the same tokens of one pass",
        "the lowest rank was taken",
    ),
    "missing-passes": Kind(
        WARNING,
        "passes",
        "Numbers of forward passes have gaps, or some ranks lack passes that others have: loads "
        "lack them",
        "what is there was taken",
    ),
    "weights-against-gate": Kind(
        WARNING,
        "decisions",
        "Mixing weights that do not sum as those of the other decisions, or of the format, do, or "
        "that are negative",
        "they are stored as they are",
    ),
    "ranks-of-weights": Kind(
        NOTE,
        "decisions",
        "Choices that were not in the order of their weights, in which the source gives the others",
        "they were sorted by weight",
    ),
    "recomputed-selection": Kind(
        WARNING,
        "tokens",
        "Choices were computed again from router logits, not recorded as executed: bias, groups "
        "and capacity of the gate are not in them",
        "they are stored as they are",
    ),
    "draft-tokens": Kind(
        WARNING,
        "tokens",
        "Tokens of drafts and their verification (speculative decoding), of which some were "
        "rejected and never became text",
        "they are left out",
    ),
    "non-finite": Kind(
        FATAL,
        "decisions",
        "Weights that are NaN or infinite: sums and means with them are none",
        "they are stored as they are",
    ),
    "last-layer-of-one-token": Kind(
        NOTE,
        "passes",
        "In the last layer only the last token of a prefill ran: its loads are of fewer tokens "
        "than those of the others",
        "the other tokens have no choices there",
    ),
    "padding-rows": Kind(
        NOTE,
        "rows",
        "Rows beyond the sequences of a pass, with which an engine fills a batch up",
        "they are left out",
    ),
    "passes-as-texts": Kind(
        NOTE,
        "passes",
        "The source does not say which request a token belongs to: a text is one sequence of a "
        "forward pass, and texts are not independent",
        "intervals and tests take each pass for one observation",
    ),
    "inferred-texts": Kind(
        NOTE,
        "texts",
        "The source does not say where a text ends: one begins with every pass of several tokens, "
        "and passes of one token continue it",
        "texts were made so",
    ),
    "counts-only": Kind(
        NOTE,
        "files",
        "The source counts choices and names no token: load is known, and nothing about single "
        "tokens, texts or pairs of experts",
        "counts are stored as they are",
    ),
    "idle-experts": Kind(
        NOTE,
        "places",
        "Places beyond the number of experts, which the source fills with 0",
        "they are left out",
    ),
    "repeated-requests": Kind(
        WARNING,
        "answers",
        "Answers of a request whose id came before: the same answer may be in the files twice, and "
        "then counts twice",
        "they are stored as they are",
    ),
    "uneven-counts": Kind(
        WARNING,
        "counts",
        "Choices of a pass and layer that are no multiple of the experts a token chooses: some "
        "were not counted, so the number of tokens is unknown there",
        "they are stored without a number of tokens",
    ),
    "without-token-ids": Kind(
        NOTE,
        "tokens",
        "The source does not name the tokens: pages about words show none",
        "tokens have neither id nor text",
    ),
    "numbered-texts": Kind(
        NOTE,
        "tokens",
        "The source gives the text of tokens and not their ids: on pages about words, tokens of "
        "equal text are one",
        "texts are numbered in the order in which they first come, and these numbers stand for ids",
    ),
    "not-read": Kind(
        NOTE,
        "files",
        "Files of the folder that no importer knows",
        "they were left alone",
    ),
    "prompts-left": Kind(
        WARNING,
        "texts",
        "Prompts without routing, or routing without a prompt: domains and groups of these are "
        "unknown",
        "they were joined as far as they fit",
    ),
}


def finding(
    kind: str, occurrences: int, first_example: str, *, severity: str | None = None
) -> Finding:
    """In the words of its kind. `first_example`: file, line or offset, and what stands there."""
    known = KINDS[kind]
    return Finding(
        kind=kind,
        severity=severity or known.severity,
        occurrences=occurrences,
        first_example=first_example,
        effect=known.effect,
        unit=known.unit,
        done=known.done,
    )


def summed(findings: Iterable[Finding]) -> list[Finding]:
    """One of each that differ in more than how often they occur; the first example stays."""
    known: dict[Finding, Finding] = {}
    for found in findings:
        key = replace(found, occurrences=1, first_example="")
        before = known.get(key)
        more = found if before is None else before
        count = found.occurrences + (before.occurrences if before else 0)
        known[key] = replace(more, occurrences=count)
    return list(known.values())


class Ledger:
    """What is noticed on the way, by kind."""

    def __init__(self) -> None:
        self._count = Counter[str]()
        self._example: dict[str, str] = {}

    def note(self, kind: str, occurrences: int, example: str) -> None:
        if occurrences:
            self._count[kind] += occurrences
            self._example.setdefault(kind, example)

    def findings(self) -> list[Finding]:
        """In the order of KINDS."""
        return [
            finding(kind, self._count[kind], self._example[kind])
            for kind in KINDS
            if self._count[kind]
        ]
