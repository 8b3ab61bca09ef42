"""Models whose experts are those of another, under other numbers or fewer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import load_model, save_model
from model.config import ModelConfig
from model.transformer import Transformer
from tests.models import small_config
from tests.tokenizers import byte_tokenizer


def write_model(folder: Path, *, seed: int = 0, **changes: object) -> Path:
    config: ModelConfig = replace(small_config(), vocab_size=257, **changes)  # type: ignore[arg-type]
    made = Transformer(config)
    made.initialize(seed=seed)
    return _saved(made, folder)


def write_twin(
    folder: Path, of: Path, name_LE: np.ndarray, leaders: tuple[int, ...] | None = None
) -> Path:
    """Expert e of layer l of the model `of` has the number name_LE[l, e]. leaders: whose weights
    each number runs, in all layers."""
    known = load_model(of)
    kept = None if leaders is None else tuple([leaders] * len(name_LE))
    twin = Transformer(replace(known.config, expert_leaders=kept))
    standing = sorted({place for place in leaders or range(name_LE.shape[1]) if place >= 0})
    state = known.state_dict()
    for layer, name_E in enumerate(name_LE, start=known.config.first_dense_layers):
        place = torch.from_numpy(np.argsort(name_E)[standing])
        for name in ("gate_up_EDF", "down_EFD"):
            key = f"layers.{layer}.ffn.experts.{name}"
            state[key] = state[key][place]
    twin.load_state_dict(state)
    return _saved(twin, folder)


def _saved(model: Transformer, folder: Path) -> Path:
    save_model(model, folder, dtype=torch.float32)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
