"""What a search asks for: an expert, a text by its number, a domain, words, a phrase.

A word is a token as pages show it.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from app.views.shared.theme import visible

LONGEST = 1_000  # characters of a search
LEAST_BEGINNING = 2  # characters that a domain or a longer word may begin with
NUMBER = re.compile(r"#?([0-9]{1,10})")
ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")  # of RE2's, also half a character
QUOTED = 80  # characters of a search that are repeated


def asked_text(text: str) -> str:
    """As it is searched for: without the blanks around it, unless there is nothing else.
    ValueError: it is too long."""
    text = text.encode(errors="replace").decode()
    if len(text) > LONGEST:
        raise ValueError(f"A search may have {LONGEST:,} characters; this one has {len(text):,}")
    return text.strip() or text


def quoted(text: str) -> str:
    """Its beginning, where it is long."""
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def expert_named(
    text: str, layers: Mapping[str, int], experts_L: Sequence[int]
) -> tuple[int, int] | None:
    """(layer_id, expert_id) of LAYER:EXPERT. `layers`: by what pages call them."""
    layer, colon, expert = text.rpartition(":")
    named = {name.casefold(): layer_id for name, layer_id in layers.items()}
    layer_id = named.get(layer.strip().casefold().removeprefix("layer "))
    if not colon or layer_id is None or not re.fullmatch("[0-9]{1,5}", expert.strip()):
        return None
    expert_id = int(expert)
    return (layer_id, expert_id) if expert_id < experts_L[layer_id] else None


def number_named(text: str) -> int | None:
    """Of a text: 12 or #12."""
    found = NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def domains_named(text: str, domains: Sequence[str]) -> list[str]:
    """The one of that name, or those that begin so, whatever the case."""
    text = text.casefold()
    equal = [domain for domain in domains if domain.strip().casefold() == text]
    if equal or len(text) < LEAST_BEGINNING:
        return equal
    return [domain for domain in domains if domain.strip().casefold().startswith(text)]


def pattern_of(text: str, *, regex: bool) -> str:
    """For RE2: a regular expression as it is, anything else literally and whatever the case.
    ValueError: it is none, or matches everything."""
    if not regex:
        return f"(?i){re.escape(text)}"
    try:
        matches_nothing = pc.match_substring_regex(pa.array([""]), text)[0].as_py()
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("Invalid regular expression: ").split("\n")[0]
        raise ValueError(f"This is no regular expression: {quoted(why)}") from error
    if ANY_BYTE.search(text):
        raise ValueError(
            r"\C matches a single byte, which may be part of a character; write . for one"
        )
    if matches_nothing:
        raise ValueError(
            "This regular expression matches an empty text, and so every place in every text"
        )
    return text


def matching_words(words: pd.DataFrame, text: str, *, regex: bool) -> pd.DataFrame:
    """Rows of token_texts(): the word itself, with or without a blank before it and whatever its
    case; those that begin with it; or all that a regular expression matches. The most frequent of
    each kind first."""
    texts = pa.array(words.text, pa.large_string())
    if regex:
        return words[pc.match_substring_regex(texts, text).to_numpy(zero_copy_only=False)]
    if not text.strip():
        return words[words.text == text]
    bare = pc.utf8_trim_whitespace(texts)
    folded, sought = pc.utf8_lower(bare), text.lower()
    same = pc.equal(bare, text).to_numpy(zero_copy_only=False)
    equal = pc.equal(folded, sought).to_numpy(zero_copy_only=False)
    equal |= (words.text == text).to_numpy() | (words.text.map(visible) == text).to_numpy()
    begins = np.zeros(len(words), bool)
    if len(text) >= LEAST_BEGINNING:
        begins = pc.starts_with(folded, sought).to_numpy(zero_copy_only=False)
    kind = np.select([same, equal, begins], [0, 1, 2], 3)
    order = np.argsort(kind, kind="stable")
    return words.iloc[order[kind[order] < 3]]
