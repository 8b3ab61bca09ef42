"""Which tokens of the texts of one trace stand where tokens of the other do: rows of their frames
(MatchedTexts), with the number of the text of every token.

N = texts that both have, T = tokens of a trace, P = places.
"""

import numpy as np
import pandas as pd

from analysis.matching.pieces import character_ends, laid_over
from data.routing import NO_TOKEN, PREFILL


def same_tokens(
    first: pd.DataFrame,
    second: pd.DataFrame,
    number_T: np.ndarray,
    other_number_T: np.ndarray,
    *,
    same_ids: bool,
    named: bool,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of both, up to the first generated token of a text that differs; and of how many texts.
    A text is left out if tokens of its prompt differ. Ids of tokenizers that nobody names tell only
    what texts of tokens do not."""
    place_T, other_T = _places((first, second), (number_T, other_number_T))
    place_P, rows, others = np.intersect1d(
        place_T, other_T, assume_unique=True, return_indices=True
    )
    one, other = first.iloc[rows], second.iloc[others]
    codes = pd.factorize(np.concatenate([one.text, other.text]))[0]
    text_P, other_text_P = codes[: len(rows)], codes[len(rows) :]
    id_P, other_id_P = one.token_id.to_numpy(), other.token_id.to_numpy()
    by_text_P = (text_P >= 0) & (other_text_P >= 0)
    by_id_P = (id_P != NO_TOKEN) & (other_id_P != NO_TOKEN) & same_ids
    known_P = by_text_P | by_id_P
    if len(known_P) and not known_P.any():
        raise ValueError(
            "the tokens of these traces cannot be told apart: neither their texts nor ids of one "
            "tokenizer are known; import them with --tokenizer"
        )
    by_id_P &= ~by_text_P | named
    same_P = (~by_text_P | (text_P == other_text_P)) & (~by_id_P | (id_P == other_id_P))
    prompts_P = (one.phase.to_numpy() == PREFILL) & (other.phase.to_numpy() == PREFILL)
    number_P = place_P >> 32
    left_out = np.unique(number_P[prompts_P & ~same_P])
    differs_P = ~same_P | (~known_P & ~prompts_P)
    wrong_P = np.cumsum(differs_P)
    starts_P = np.append(True, number_P[1:] != number_P[:-1])[: len(place_P)]
    before_P = (wrong_P - differs_P)[np.flatnonzero(starts_P)[np.cumsum(starts_P) - 1]]
    kept_P = known_P & (wrong_P == before_P) & ~np.isin(number_P, left_out)
    order = np.argsort(rows[kept_P], kind="stable")
    alike = len(np.unique(number_P[kept_P]))
    return rows[kept_P][order], others[kept_P][order], alike


def _places(
    tokens: tuple[pd.DataFrame, pd.DataFrame], numbers: tuple[np.ndarray, np.ndarray]
) -> list[np.ndarray]:
    """One number for text and position, of the tokens of each trace. Where both have a text from
    its beginning, positions count from the first token that is no special one: a start token that
    one of them lacks moves nothing."""
    most = max(int(number_T.max(initial=0)) for number_T in numbers) + 1
    start_SN, begins_SN = np.zeros((2, most), np.int64), np.zeros((2, most), bool)
    for side, (of, number_T) in enumerate(zip(tokens, numbers, strict=True)):
        position_T, ordinary_T = of.position.to_numpy(), ~of.special.to_numpy(bool)
        for number, rows in _rows(number_T).items():
            begins_SN[side, number] = position_T[rows[0]] == 0
            start_SN[side, number] = position_T[rows[int(np.argmax(ordinary_T[rows]))]]
    start_SN[:, ~begins_SN.all(0)] = 0
    return [
        (number_T.astype(np.int64) << 32)
        + (1 << 31)
        + of.position.to_numpy(np.int64)
        - start_N[number_T]
        for of, number_T, start_N in zip(tokens, numbers, start_SN, strict=True)
    ]


def same_characters(
    tokens: tuple[pd.DataFrame, pd.DataFrame], numbers: list[np.ndarray], texts: list[list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Rows of both, how many characters lie in both, and how many texts have any."""
    rows_N, other_rows_N = map(_rows, numbers)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, (text, other_text) in enumerate(zip(*texts, strict=True)):
        if number not in rows_N or number not in other_rows_N:
            continue
        rows, others = rows_N[number], other_rows_N[number]
        one = _laid(tokens[0].text.iloc[rows].tolist(), text)
        other = _laid(tokens[1].text.iloc[others].tolist(), other_text)
        if one is None or other is None:
            continue
        ends, other_ends = character_ends(one, other)
        cuts = np.unique(np.concatenate([ends, other_ends]))
        cuts = cuts[(cuts > 0) & (cuts <= min(ends.max(initial=0), other_ends.max(initial=0)))]
        at, other_at = np.searchsorted(ends, cuts), np.searchsorted(other_ends, cuts)
        parts.append((rows[at], others[other_at], np.diff(cuts, prepend=0)))
    if not parts:
        raise ValueError(
            "the tokens of these traces differ, and they do not give the texts of their "
            "documents, over which they could be laid; import them with --tokenizer"
        )
    rows, others, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return rows[order], others[order], sizes[order], len(parts)


def _laid(pieces_T: list[str | None], text: str) -> list[bytes] | None:
    pieces = [piece for piece in pieces_T if piece is not None]
    return laid_over(pieces, text) if len(pieces) == len(pieces_T) else None


def _rows(number_T: np.ndarray) -> dict[int, np.ndarray]:
    """Of every text; those of one follow one another."""
    starts = np.flatnonzero(np.append(True, number_T[1:] != number_T[:-1])[: len(number_T)])
    ends = np.append(starts[1:], len(number_T))
    return {
        int(number_T[start]): np.arange(start, end) for start, end in zip(starts, ends, strict=True)
    }
