"""Every number that a command takes has bounds, and is refused under the name of its option."""

import pytest

from app import cli
from app.kept import Layers, Sample
from tests.app.shell import Run

SEED = (-1, 2**31, 2**63, 2**200, "nan", "1.5")


COUNT = (0, -1, 2**31, 2**200, "nan", "inf")


TEMPERATURE = ("nan", "inf", "-inf", "-1", "1e-40", "1e300", "x")


CAPTURE = ("capture", "p.txt", "--out", "t.duckdb")


IMPORT = ("import", "a.npy", "--out", "t.duckdb")


EXPERTS = ("experts", "t.duckdb", "--list", "prune")


EXPORT = ("export", "t.duckdb", "--as", "esft", "--out", "a.json")


ABLATE = ("ablate", "--trace", "t.duckdb")


CACHE = ("cache", "t.duckdb")


PLACE = ("place", "t.duckdb", "--gpus", "2")


GENERATE = ("model", "generate", "a")


DESCRIBE = ("model", "describe", "mini")


PRUNE = ("prune", "m", "--out", "n")


QUANTIZE = ("quantize", "m", "--out", "n")


TRAIN = ("train", "f", "--corpus", "c")


KINDS = (int, float, int | None, float | None, Sample | None, Layers | None)


NUMBERS = [
    (CAPTURE, "--seed", SEED),
    (CAPTURE, "--generate", (-1, 2**31, "nan")),
    (CAPTURE, "--temperature", TEMPERATURE),
    (CAPTURE, "--top-p", ("nan", "inf", 0, -1, 1.1)),
    (CAPTURE, "--num-experts", (*COUNT, 4_097)),
    (CAPTURE, "--top-k", (*COUNT, 257)),
    (CAPTURE, "--num-layers", (*COUNT, 4_097)),
    (CAPTURE, "--workers", (*COUNT, 65_537)),
    (CAPTURE, "--sample", (*COUNT, 1.5, "1.0", "0.0", "10%", "1e3", "0.1.2", "٣", "")),
    (CAPTURE, "--layers", (-1, "nan", "1.5", "3-1", "1,,2", "0-", "", 2**31, "1-99999")),
    (IMPORT, "--num-experts", (*COUNT, 4_097)),
    (IMPORT, "--top-k", (*COUNT, 4_097)),
    (EXPERTS, "--keep", COUNT),
    (EXPERTS, "--top-p", ("nan", 0, 2)),
    (EXPERTS, "--needed", COUNT),
    (EXPERTS, "--window", COUNT),
    (EXPERTS, "--texts", COUNT),
    (EXPERTS, "--seed", SEED),
    (EXPORT, "--devices", COUNT),
    (EXPORT, "--keep", COUNT),
    (EXPORT, "--top-p", ("nan", 0, 2)),
    (PLACE, "--gpus", COUNT),
    (PLACE, "--nodes", COUNT),
    (PLACE, "--redundant", (-1, 2**31, "nan")),
    (PLACE, "--groups", COUNT),
    (PLACE, "--batch", COUNT),
    (PLACE, "--expert-bytes", COUNT),
    (CACHE, "--bandwidth", ("nan", "inf", 0, -1, 1e300)),
    (CACHE, "--expert-bytes", COUNT),
    (CACHE, "--accesses", (*COUNT, 50_000_001)),
    (ABLATE, "--seed", SEED),
    (ABLATE, "--top", COUNT),
    (ABLATE, "--tokens", COUNT),
    (("evaluate",), "--seed", SEED),
    (("evaluate",), "--temperature", TEMPERATURE),
    (("evaluate",), "--limit", COUNT),
    (("evaluate",), "--samples", COUNT),
    (("evaluate",), "--max-new-tokens", COUNT),
    (("evaluate",), "--timeout", (*COUNT, 86_401)),
    (GENERATE, "--seed", SEED),
    (GENERATE, "--tokens", COUNT),
    (GENERATE, "--temperature", TEMPERATURE),
    (GENERATE, "--top-p", ("nan", 0, 2)),
    (DESCRIBE, "--segments", COUNT),
    (DESCRIBE, "--shared", (-1, 2**31, "nan")),
    (PRUNE, "--threshold", ("nan", "inf", -0.1, 1.1)),
    (PRUNE, "--share", ("nan", "inf", -0.1, 1.1)),
    (PRUNE, "--texts", COUNT),
    (PRUNE, "--seed", SEED),
    (QUANTIZE, "--texts", COUNT),
    (QUANTIZE, "--seed", SEED),
    (TRAIN, "--steps", COUNT),
    (TRAIN, "--batch-size", COUNT),
    (TRAIN, "--learning-rate", ("nan", "inf", -1, 1e300)),
    (TRAIN, "--warmup-steps", (-1, 2**31, "nan")),
    (TRAIN, "--snapshots", COUNT),
    (TRAIN, "--segments", COUNT),
    (TRAIN, "--shared", (-1, 2**31, "nan")),
    (TRAIN, "--minutes", ("nan", "inf", -1)),
    (TRAIN, "--seed", SEED),
    (("app",), "--port", (0, -1, 65_536, "nan")),
]


@pytest.mark.parametrize(("command", "option", "values"), NUMBERS)
def test_a_number_out_of_bounds_is_refused_by_the_name_of_its_option(
    refused: Run, command: tuple[str, ...], option: str, values: tuple[object, ...]
) -> None:
    for value in values:
        line = refused(*command, f"{option}={value}")
        assert line.startswith(f"Invalid value for '{option}': "), line


def test_every_number_that_a_command_takes_is_tested_above() -> None:
    tested = {(" ".join(command), option) for command, option, _ in NUMBERS}
    named = {(command.split(" ")[0], option) for command, option in tested}
    taking = set()
    for group in [cli.app, cli.model.app, cli.corpus.app]:
        for command in group.registered_commands:
            assert command.callback
            name = command.name or command.callback.__name__
            for parameter, type_ in command.callback.__annotations__.items():
                kind = getattr(type_, "__origin__", None)
                if kind in KINDS:
                    path = "model" if group is cli.model.app else name
                    taking.add((path, f"--{parameter.replace('_', '-')}"))
    assert taking == named


@pytest.mark.parametrize(
    ("value", "cause"),
    [("nan", "nan is not a number to compute with"), ("1.5", "1.5 is not from 0 to 1")],
)
def test_what_is_no_number_is_told_from_one_out_of_bounds(
    refused: Run, value: str, cause: str
) -> None:
    assert refused(*PRUNE, f"--threshold={value}").endswith(cause)
