"""The numbers that commands take: finite, within bounds, refused under the name of the option."""

import math
from typing import Annotated, Any

import typer

from app.studies.reader import COLDEST, HOTTEST, require_temperature

LARGEST = 2**31 - 1  # of a count and of a seed: what every library below takes


def count_option(help: str, *, least: int = 1, most: int = LARGEST) -> Any:
    return typer.Option(min=least, max=most, help=help)


def seed_option(help: str) -> Any:
    return count_option(help, least=0)


def real_option(help: str, *, least: float, most: float) -> Any:
    """NaN and infinity are told from numbers out of bounds."""

    def within(value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise typer.BadParameter(f"{value} is not a number to compute with")
        if value is not None and not least <= value <= most:
            raise typer.BadParameter(f"{value:g} is not from {least:g} to {most:g}")
        return value

    return typer.Option(callback=within, help=f"{help} From {least:g} to {most:g}.")


def usable_temperature(value: float | None) -> float | None:
    try:
        if value is not None:
            require_temperature(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return value


def share_of_probability(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value} is not above 0 and at most 1")
    return value


TEMPERATURE = typer.Option(
    callback=usable_temperature,
    help=f"Temperature of sampling, {COLDEST} to {HOTTEST:g}; 0 takes the most likely token.",
)
TOP_P = typer.Option(
    callback=share_of_probability,
    help="Sample from the most likely tokens that make up this much probability.",
)
Temperature = Annotated[float, TEMPERATURE]
TopP = Annotated[float, TOP_P]
OwnTemperature = Annotated[float | None, TEMPERATURE]  # by default as the model's author set it
OwnTopP = Annotated[float | None, TOP_P]
