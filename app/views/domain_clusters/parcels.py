"""What of a map goes to the browser, packed: a header of JSON, and arrays behind it.

P = points, R = runs of neighbouring tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import streamlit as st

from app.trace import Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.shared.layer_names import names_of
from app.views.shared.theme import visible
from data.labels import NONE, TOO_LITTLE
from data.strict_json import json_text
from data.words import counted

WORD, TITLE = 40, 120  # characters of a token's text, and of a prompt's
FEWEST, ALL_WORDS = 4, 20_000_000  # of a token's text where there are too many, and of all
SEEN = 0.002  # of the points may lie outside of the first view, on every side
MARGIN = 1.04


@dataclass(frozen=True, slots=True)
class Parcel:
    id: str  # of its contents
    data: bytes


def packed(kind: str, told: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> Parcel:
    """Every array begins at a multiple of four bytes."""
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    body = b"".join(part + b"\0" * (-len(part) % 4) for part in parts)
    described = [[name, f"u{array.dtype.itemsize}", len(array)] for name, array in arrays.items()]
    header = {"kind": kind, "arrays": described} | dict(told)
    id_ = blake2b(json_text(header).encode() + body, digest_size=12).hexdigest()
    text = json_text({"id": id_} | header).encode()
    text += b" " * (-len(text) % 4)
    return Parcel(id_, len(text).to_bytes(4, "little") + text + body)


@st.cache_resource(max_entries=3, show_spinner=False, hash_funcs=BY_KEY)
def points_parcel(trace: Trace, points: MapPoints) -> Parcel:
    """Where every point lies and what a pointer that meets it tells."""
    x_P, y_P = points.places_2P
    told: dict[str, object] = {
        "bounds": bounds(points.places_2P),
        "domains": _shown(points.domains),
    }
    arrays = {"x": x_P, "y": y_P}
    if points.what == "tokens":
        text = points.frame.text.cat
        most = max(FEWEST, min(WORD, ALL_WORDS // len(text.categories)))
        told["words"] = [_in_line(word[:most]) for word in text.categories]
        return packed("points", told, arrays | {"text": _small(text.codes)} | runs(points))
    told["words"], told["details"] = _titles(trace, points), _details(points)
    return packed("points", told, arrays | {"text": np.arange(len(points), dtype=np.uint32)})


def chosen_parcel(chosen_P: np.ndarray | None) -> Parcel:
    """A bit a point; nothing: all are alike."""
    bits = {} if chosen_P is None else {"bits": np.packbits(chosen_P, bitorder="little")}
    return packed("chosen", {}, bits)


def bounds(places_2P: np.ndarray) -> list[float]:
    """left, bottom, right, top of what is seen first: of nearly all points."""
    low_2, high_2 = np.quantile(places_2P, [SEEN, 1 - SEEN], axis=1)
    middle_2, half_2 = (low_2 + high_2) / 2, np.maximum((high_2 - low_2) / 2, 1.0) * MARGIN
    return [*(middle_2 - half_2), *(middle_2 + half_2)]


def runs(points: MapPoints) -> dict[str, np.ndarray]:
    """Neighbouring tokens of one text: where a run starts among the points, its text, the position
    of its first token and its domain."""
    doc_id_P, position_P = (points.frame[name].to_numpy() for name in ("doc_id", "position"))
    same_P = (np.diff(doc_id_P) == 0) & (np.diff(position_P.astype(np.int64)) == 1)
    start_R = np.append(0, np.flatnonzero(~same_P) + 1)[: len(doc_id_P)]
    domain_P = points.frame.domain.cat.codes.to_numpy()
    return {
        "run_start": start_R.astype(np.uint32),
        "run_doc": doc_id_P[start_R].astype(np.uint32),
        "run_position": position_P[start_R].astype(np.uint32),
        "run_domain": domain_P[start_R].astype(np.uint16),
    }


def _small(codes: object) -> np.ndarray:
    codes_P = np.asarray(codes)
    return codes_P.astype(np.uint16 if codes_P.max(initial=0) < 2**16 else np.uint32)


def _in_line(text: str) -> str:
    """Among others a blank needs no mark."""
    return visible(text) if text.strip(" ") else text


def _shown(texts: list[str]) -> list[str]:
    return [visible(text) for text in texts]


def _titles(trace: Trace, points: MapPoints) -> list[str]:
    frame = points.frame
    if points.what == "prompts":
        return [visible(text[:TITLE]) for text in frame.text]
    names = names_of(trace)
    return [
        f"{names.hover(layer)}, expert {expert}"
        for layer, expert in zip(frame.layer_id, frame.expert_id, strict=True)
    ]


def _details(points: MapPoints) -> list[str]:
    frame = points.frame
    if points.what == "prompts":
        texts = zip(frame.domain, frame.doc_id, frame.tokens, strict=True)
        return [
            f"{visible(of)}, text {doc_id}, {counted(tokens, 'token', 'tokens')}"
            for of, doc_id, tokens in texts
        ]
    experts = zip(frame.domain, frame.tokens, strict=True)
    return [
        f"{tokens:,} choices"
        if domain in (NONE, TOO_LITTLE)
        else f"prefers {visible(domain)}, {tokens:,} choices"
        for domain, tokens in experts
    ]
