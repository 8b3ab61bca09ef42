"""Which model a command is about: a preset or a file, cut and shared as the paper does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from app.commands.numbers import count_option

if TYPE_CHECKING:
    from model.config import ModelConfig

Segments = Annotated[int, count_option("Split every routed expert into this many (m).")]
Shared = Annotated[
    int, count_option("Make this many of the activated experts shared (K_s).", least=0)
]


def chosen_config(preset: str, *, segments: int = 1, shared: int = 0) -> "ModelConfig":
    """Total and activated parameters are those of the preset, however it is cut."""
    from dataclasses import replace

    from model.config import FIXED_TOP_K, segmented, with_shared
    from model.config_file import load_config
    from model.presets import PRESETS

    if preset in PRESETS:
        config = PRESETS[preset]()
    elif Path(preset).is_dir():
        config = load_config(Path(preset))
    else:
        raise ValueError(
            f"{preset!r} is neither a folder nor a preset; `routescope model presets` lists them"
        )
    if (segments, shared) == (1, 0):
        return config
    if config.num_experts == 0:
        raise ValueError(f"{preset} is dense: it has no experts to split or to share")
    if config.router in FIXED_TOP_K:  # these choose one or two, by definition
        config = replace(config, router="softmax")
    return with_shared(segmented(config, segments), shared)
