"""All points of a map, in the order of their texts, where the landmarks are among them.

P = points, M = landmarks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.areas import square
from app import sidecars
from app.trace import BY_IDENTITY, Trace
from data.sidecar import Absent, Sidecar, read_whole, sidecar_path

ORDER = {
    "tokens": ["doc_id", "position"],
    "prompts": ["doc_id"],
    "experts": ["layer_id", "expert_id"],
}
PLACE = ["x", "y", "cluster", "distance"]
COLUMNS = {
    "tokens": ["doc_id", "position", "domain", "unit", "text", *PLACE],
    "prompts": ["doc_id", "domain", "group", "unit", "origin", "tokens", "text", *PLACE],
    "experts": ["layer_id", "expert_id", "tokens", "domain", *PLACE],
}
TEXTS = ("domain", "group", "origin", "text")


@dataclass(frozen=True, slots=True, eq=False)
class MapPoints:
    """Not to be changed. Equal to itself only, so it can key a cache by `key`."""

    what: str  # tokens, prompts, experts
    frame: pd.DataFrame  # COLUMNS; domain and text are categories
    places_2P: np.ndarray  # of the map's square, uint16
    landmark_M: np.ndarray  # rows of the frame
    landmarks: pd.DataFrame  # of tokens with expert_<layer_id>
    parameters: dict[str, Any]
    key: str

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def is_first_look(self) -> bool:
        return "texts" in self.parameters  # that were read for it

    @property
    def domains(self) -> list[str]:
        return list(self.frame.domain.cat.categories)

    @property
    def clusters(self) -> int:
        return self.parameters["clusters"] or 0

    @property
    def doc_ids(self) -> list[int]:
        """Ascending."""
        doc_id_P = self.frame.doc_id.to_numpy()
        return doc_id_P[np.flatnonzero(np.diff(doc_id_P, prepend=-1))].tolist()


BY_KEY = BY_IDENTITY | {MapPoints: lambda points: points.key}


def all_points(trace: Trace, what: str, shown: Sidecar) -> MapPoints:
    """Of the map that is shown: the rest of its points too, if it is one that was made."""
    path = sidecar_path(trace.path, sidecars.MAPS[what])
    looks = "texts" in shown.parameters
    key = "first look" if looks or not path.is_file() else str(path.stat().st_mtime_ns)
    return _all_points(trace, what, shown, f"{trace.identity} {what} {key}")


@st.cache_resource(max_entries=3, show_spinner=False, hash_funcs=BY_IDENTITY)
def _all_points(trace: Trace, what: str, _shown: Sidecar, key: str) -> MapPoints:
    whole = None if key.endswith("first look") else _whole(trace, what)
    frame = _shown.frame[COLUMNS[what]] if whole is None else whole
    place_P = _order(frame, ORDER[what])
    landmarks = len(_shown.frame)
    frame = frame.take(place_P).reset_index(drop=True)
    where_P = np.empty(len(place_P), dtype=np.int64)
    where_P[place_P] = np.arange(len(place_P))
    return MapPoints(
        what,
        frame.astype({name: "category" for name in TEXTS if name in frame}),
        square(frame.x.to_numpy(), frame.y.to_numpy()),
        where_P[:landmarks],
        _shown.frame,
        _shown.parameters,
        key,
    )


def _whole(trace: Trace, what: str) -> pd.DataFrame | None:
    """None: the file is gone, or its rest is damaged."""
    found = read_whole(trace.path, sidecars.MAPS[what], of=trace.info, columns=COLUMNS[what])
    return None if isinstance(found, Absent) else found.to_pandas()


def _order(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Two whole numbers below 2^32 in one."""
    first, second = frame[columns[0]], frame[columns[-1]]
    number = first.to_numpy().astype(np.uint64) << np.uint64(32) | second.to_numpy().astype(
        np.uint64
    )
    return np.argsort(number, kind="stable")
