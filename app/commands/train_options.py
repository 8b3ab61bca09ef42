"""The options of `routescope train`."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.numbers import count_option, real_option, seed_option

Folder = Annotated[
    Path, typer.Argument(help="Folder of the training; one that was begun is continued.")
]
Corpus = Annotated[Path, typer.Option(help="Folder that `routescope corpus tokenize` wrote.")]
Preset = Annotated[
    str | None,
    typer.Option(
        help="A name of `routescope model presets`, or a folder with a config.json.",
        show_default="tiny",
    ),
]
Dense = Annotated[
    bool,
    typer.Option(
        "--dense",
        help="Train the dense twin, which has as many parameters as the preset activates.",
    ),
]
Stages = Annotated[
    str | None,
    typer.Option(
        help="'article': the three stages of the article in docs/article.md; or a JSON file with a "
        "table of stages."
    ),
]
NoCurriculum = Annotated[
    bool, typer.Option("--no-curriculum", help="Train the stages without the dynamic curriculum.")
]
NoAdversarial = Annotated[
    bool, typer.Option("--no-adversarial", help="Train the stages without adversarial training.")
]
Steps = Annotated[int, count_option("Steps of the whole schedule, at full batch size.")]
BatchSize = Annotated[int, count_option("Sequences per step, over all processes.")]
LearningRate = Annotated[float, real_option("Peak learning rate.", least=0, most=1e3)]
WarmupSteps = Annotated[int, count_option("Steps of linear warm-up.", least=0)]
Snapshots = Annotated[
    int, count_option("Number of steps at which routing is recorded, besides the ends of stages.")
]
Seed = Annotated[int, seed_option("Seed of weights and data order.")]
Minutes = Annotated[
    float | None,
    real_option(
        "Write a checkpoint and stop after this many minutes; run again to continue.",
        least=0,
        most=1e6,
    ),
]
Parallel = Annotated[
    bool,
    typer.Option(
        "--parallel",
        help="Under torchrun: spread the experts over its processes instead of copying them.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
