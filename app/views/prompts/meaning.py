"""What the colour of an expert says: the domain that it prefers in a reference trace."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import arrays, queries, specialization
from analysis.domain_counts import compared_layers
from analysis.specialization import NO_DOMAIN
from app.trace import Trace
from app.views.shared.theme import Palette, domain_colors
from data.routing import NO_EXPERT


@dataclass(frozen=True, slots=True)
class Meaning:
    """Categories of experts, and their colours."""

    names: list[str]
    colors: list[str]
    category_LE: np.ndarray | None  # index of both; None where no domain is known
    note: str

    def categories(self, rows: pd.DataFrame) -> list[int]:
        """Of each row's layer_id and expert_id; NO_EXPERT prefers nothing: the last one."""
        if self.category_LE is None:
            return [0] * len(rows)
        known = self.category_LE[rows.layer_id, rows.expert_id]
        return np.where(rows.expert_id == NO_EXPERT, len(self.names) - 1, known).tolist()


def meaning(reference: Trace, shown: Trace, palette: Palette) -> Meaning:
    """From the trace in the sidebar, if it is of the same model and knows domains."""
    if reference.info.model_sha256 == shown.info.model_sha256:
        with reference.cursor() as con:
            tokens_LEG = arrays.domain_array(queries.expert_domain_tokens(con), reference.info)
        if np.count_nonzero(np.nansum(tokens_LEG, (0, 1))) > 1:
            names = specialization.label_names(reference.domains)
            color_of = domain_colors(names, palette)
            category_LE = _expert_domains(tokens_LEG)
            note = f"Colour: the domain that the expert prefers in the trace {reference.name}."
            return Meaning(names, [color_of[name] for name in names], category_LE, note)
    note = "No colour: the trace in the sidebar does not tell which domain an expert prefers."
    return Meaning([], [palette.neutral], None, note)


def _expert_domains(tokens_LEG: np.ndarray) -> np.ndarray:
    """Index of each expert's domain, of a last category in layers that have nothing to compare."""
    num_labels = tokens_LEG.shape[-1] + 2
    label_LE = np.full(tokens_LEG.shape[:2], NO_DOMAIN)
    layers_L = compared_layers(tokens_LEG)
    label_LE[layers_L] = specialization.expert_domain(tokens_LEG[layers_L])
    return np.where(label_LE == specialization.NO_SUCH, NO_DOMAIN, label_LE) % num_labels
