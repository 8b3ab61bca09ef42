"""How far what tools say of routing agrees with what experts were given, by family.

T = tokens, E = experts, K = chosen.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.models.subjects import byte_tokenizer
from tests.families.found import Family
from tests.families.tiny import tiny

ROOT = Path(__file__).parents[2]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """Of one tool in one family."""

    share: float | None = None  # of (token, layer) whose set of experts is what ran
    weights: float | None = None  # largest relative error where the sets agree
    counted: float | None = None  # of choices that ran, of a tool that counts: at their expert
    layers: tuple[int, int] = (0, 0)  # seen, that ran
    error: str | None = None  # what it raised


def save_families(families: list[Family], folder: Path) -> None:
    for family in families:
        tiny(family).save_pretrained(folder / family.name)
        byte_tokenizer().save_pretrained(folder / family.name)


def run_driver(tool: str, python: Path, folders: Path, texts: list[str], out: Path) -> None:
    """In the environment of the interpreter."""
    out.mkdir(parents=True)
    (out / "texts.json").write_text(json.dumps(texts))
    driver = f"benchmarks.models.drivers.read_by_{tool}"
    command: list[str | Path] = [python, "-m", driver, folders, out / "texts.json", out]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def versions(out: Path) -> dict[str, str]:
    return json.loads((out / "versions.json").read_text())


def agreement(out: Path, family: str) -> Agreement:
    error = out / f"{family}.txt"
    if error.is_file():
        return Agreement(error=error.read_text())
    with np.load(out / f"{family}.npz") as arrays:
        return agreement_of(dict(arrays))


def agreement_of(arrays: Arrays) -> Agreement:
    ran = list(numbered(arrays, "ran"))
    counts = list(numbered(arrays, "counts"))
    if counts:
        shares = [[counted(count_E, ran_TE) for ran_TE in ran] for count_E in counts]
        share, _ = best_order(shares, len(ran))
        return Agreement(counted=share, layers=(len(counts), len(ran)))
    said = [one for ids_TK in numbered(arrays, "ids") for one in passes(ids_TK, len(ran[0]))]
    shares = [[float(same(ids_TK, ran_TE).mean()) for ran_TE in ran] for ids_TK in said]
    share, order = best_order(shares, len(ran))
    return Agreement(
        share=share, weights=weight_error(arrays, said, order), layers=(len(said), len(ran))
    )


def numbered(arrays: Arrays, name: str) -> Iterator[np.ndarray]:
    layer = 0
    while f"{name}.{layer}" in arrays:
        yield arrays[f"{name}.{layer}"]
        layer += 1


def passes(values: np.ndarray, tokens: int) -> list[np.ndarray]:
    """A layer that runs several times a forward may be told in one piece."""
    if len(values) % tokens:
        return [values]
    return np.split(values, len(values) // tokens)


def same(ids_TK: np.ndarray, ran_TE: np.ndarray) -> np.ndarray:
    """Whether the set of each token is what ran [T]; an id of -1 is none."""
    if len(ids_TK) != len(ran_TE) or ids_TK.max() >= ran_TE.shape[1]:
        return np.zeros(len(ran_TE), bool)
    said_TE = np.zeros((len(ran_TE), ran_TE.shape[1] + 1), bool)
    np.put_along_axis(said_TE, ids_TK, True, axis=1)
    return (said_TE[:, :-1] == ran_TE).all(-1)


def counted(count_E: np.ndarray, ran_TE: np.ndarray) -> float:
    """Share of the choices that ran that are counted at their expert."""
    ran_E = ran_TE.sum(0)
    width = min(len(count_E), len(ran_E))
    return float(np.minimum(count_E[:width], ran_E[:width]).sum() / ran_E.sum())


def best_order(shares: list[list[float]], layers: int) -> tuple[float, list[int]]:
    """(mean over the layers that ran, for each layer told which one it is): in the order of the
    forward, and in the tool's favour where it tells of more layers or fewer. A layer it does not
    tell of counts as 0."""
    best: tuple[float, list[int]] = (0.0, [])
    number = min(len(shares), layers)
    for told in combinations(range(len(shares)), number):
        for order in combinations(range(layers), number):
            pairs = zip(told, order, strict=True)
            mean = sum(shares[one][other] for one, other in pairs) / layers
            if not best[1] or mean > best[0]:
                found = dict(zip(told, order, strict=True))
                best = mean, [found.get(one, -1) for one in range(len(shares))]
    return best


def weight_error(arrays: Arrays, said: list[np.ndarray], order: list[int]) -> float | None:
    weights = [one for x in numbered(arrays, "weights") for one in passes(x, len(said[0]))]
    worst: float | None = None
    for weights_TK, ids_TK, layer in zip(weights, said, order, strict=False):
        if f"weighed.{layer}" not in arrays:
            continue
        same_T = same(ids_TK, arrays[f"ran.{layer}"])
        ids_RK, given_RK = ids_TK[same_T], weights_TK[same_T]
        if len(ids_RK):
            real_RK = np.take_along_axis(arrays[f"weighed.{layer}"][same_T], ids_RK, axis=1)
            error = np.abs(given_RK - real_RK) / np.maximum(np.abs(real_RK), 1e-12)
            worst = max(worst or 0.0, float(error.max()))
    return worst
