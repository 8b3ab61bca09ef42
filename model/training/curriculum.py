"""Which domains the next sequences come from: those whose loss is falling.

G = domains, B = sequences, S = positions.
"""

import json
from typing import Protocol

import numpy as np

from model.training.stages import Span

CORPUS_SHARE = 0.5  # of every batch, drawn as the corpus is made up
FAST, SLOW = 0.5, 0.9  # what a running mean keeps of itself at each report


class Curriculum:
    """Learning progress of each domain: how far its recent loss lies under its earlier one.

    Two running means of the loss per token, a fast and a slow one; their difference is the slope.
    Half of the sequences follow the corpus, half are shared out by the slopes above 0.
    """

    def __init__(self, corpus_G: np.ndarray) -> None:
        """`corpus_G`: the share of each domain in the corpus."""
        self.corpus_G = corpus_G / corpus_G.sum()
        self.fast_G = np.full(len(corpus_G), np.nan)
        self.slow_G = np.full(len(corpus_G), np.nan)

    def learned(self, nats_G: np.ndarray, tokens_G: np.ndarray) -> None:
        """Take in a report: nats and predicted tokens of each domain. Unseen ones stay."""
        seen_G = tokens_G > 0
        loss_G = nats_G[seen_G] / tokens_G[seen_G]
        for mean_G, keeps in ((self.fast_G, FAST), (self.slow_G, SLOW)):
            before_G = np.where(np.isnan(mean_G[seen_G]), loss_G, mean_G[seen_G])
            mean_G[seen_G] = keeps * before_G + (1 - keeps) * loss_G

    def shares(self) -> np.ndarray:
        """Of the next sequences [G], sum 1."""
        progress_G = np.maximum(np.nan_to_num(self.slow_G - self.fast_G), 0.0)
        if progress_G.sum() == 0:
            return self.corpus_G
        return CORPUS_SHARE * self.corpus_G + (1 - CORPUS_SHARE) * progress_G / progress_G.sum()

    def state(self) -> str:
        return json.dumps([self.fast_G.tolist(), self.slow_G.tolist()])

    def restore(self, state: str) -> None:
        self.fast_G, self.slow_G = (np.array(mean) for mean in json.loads(state))


class SequenceSource(Protocol):
    """Where sequences of a domain come from: data.tokens.DomainWindows, or a list in a test."""

    domains: tuple[str, ...]
    corpus_G: np.ndarray  # share of each domain

    def batch(self, domain_B: np.ndarray, drawn_G: np.ndarray, length: int) -> np.ndarray:
        """Token ids [B, length + 1], -1 is padding: the next sequences of these domains, after
        the `drawn_G` of each domain that were drawn before."""
        ...


class StagedBatches:
    """Batches drawn by domain, as the stages of a training choose."""

    def __init__(self, source: SequenceSource, *, context_length: int, seed: int) -> None:
        self.domains = source.domains
        self.source, self.context_length, self.seed = source, context_length, seed
        self.curriculum = Curriculum(source.corpus_G)
        self.drawn: dict[int, np.ndarray] = {}  # by length: sequences of each domain

    def length(self, step: int, span: Span) -> int:
        return max(1, self.context_length // span.cuts(step))

    def shares(self, span: Span) -> np.ndarray:
        """Of the next sequences [G]."""
        return self.curriculum.shares() if span.stage.curriculum else self.curriculum.corpus_G

    def draw(self, step: int, span: Span) -> tuple[np.ndarray, np.ndarray]:
        """(token ids [B, S + 1], domain_B) of a step; tokens a step do not depend on the length."""
        rng = np.random.default_rng((self.seed, step))
        length = self.length(step, span)
        shares_G = self.shares(span)
        domain_B = rng.choice(len(shares_G), size=span.batch_size * span.cuts(step), p=shares_G)
        drawn_G = self.drawn.setdefault(length, np.zeros(len(shares_G), dtype=np.int64))
        ids_BS = self.source.batch(domain_B, drawn_G, length)
        drawn_G += np.bincount(domain_B, minlength=len(shares_G))
        return ids_BS, domain_B

    def report(self, step: int, span: Span, domains_3G: np.ndarray) -> dict[str, object]:
        """What the log says of the steps since the last report; the curriculum learns from it.

        `domains_3G`: nats, predicted tokens and sequences of each domain.
        """
        nats_G, tokens_G, sequences_G = domains_3G
        self.curriculum.learned(nats_G, tokens_G)
        losses = [
            float(nats / tokens) if tokens else None
            for nats, tokens in zip(nats_G, tokens_G, strict=True)
        ]
        shares = (sequences_G / sequences_G.sum()).tolist()
        return {
            "stage": span.stage.name,
            "sequence_length": self.length(step, span),
            "domain_loss": dict(zip(self.domains, losses, strict=True)),
            "domain_share": dict(zip(self.domains, shares, strict=True)),
        }

    def state(self) -> str:
        drawn = {str(length): drawn_G.tolist() for length, drawn_G in self.drawn.items()}
        return json.dumps({"drawn": drawn, "curriculum": self.curriculum.state()})

    def restore(self, state: str) -> None:
        kept = json.loads(state)
        self.drawn = {int(length): np.array(drawn) for length, drawn in kept["drawn"].items()}
        self.curriculum.restore(kept["curriculum"])
