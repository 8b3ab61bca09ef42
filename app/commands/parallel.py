"""`--parallel`: a command that all processes of torchrun run together."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from model.parallel.ranks import Ranks


@contextmanager
def ranks_of_torchrun(command: str) -> Iterator["Ranks"]:
    """What ends one rank ends the others, in a line each. `command`: what to start again."""
    processes = os.environ.get("WORLD_SIZE", "1")
    if not processes.isdecimal() or int(processes) < 2:
        raise ValueError(
            "--parallel spreads the experts over several processes, which torchrun starts: "
            f"torchrun --standalone --nproc-per-node 2 $(which routescope) {command} --parallel"
        )
    from model.parallel.exchange import RankLostError
    from model.parallel.ranks import RefusedError, joined_ranks

    try:
        with joined_ranks() as ranks:
            yield ranks
    except RefusedError:
        raise typer.Exit(2) from None
    except RankLostError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
