"""docs/models.md: every MoE family of the installed transformers, with what was found and proven.

python -m tests.model.huggingface.table
"""

from importlib.metadata import version
from pathlib import Path

import torch

from tests.families.found import families
from tests.model.huggingface.proof import Proven, prove

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
START, END = "<!-- table -->\n", "<!-- end of the table -->\n"
HEADER = (
    "| family | class | MoE layer | scoring | mixing weights | selection | shared | reading | "
    "generating |\n|---|---|---|---|---|---|---|---|---|\n"
)
LIMIT = 1e-5


def table(proven: list[Proven]) -> str:
    passed = sum(error(one) <= LIMIT for one in proven)
    return (
        f"{START}transformers {version('transformers')}: {len(proven)} families, of which "
        f"{passed} pass.\n\n{HEADER}{''.join(map(row, proven))}{END}"
    )


def error(one: Proven) -> float:
    return max(one.reading, one.generating or 0.0)


def row(one: Proven) -> str:
    first = one.layers[0]
    assert first.rule is not None
    rules = {(x.rule.scoring, x.rule.weighting, x.rule.selection) for x in one.layers if x.rule}
    columns = [" or ".join(sorted(set(values))) for values in zip(*rules, strict=True)]
    generating = "not by itself" if one.generating is None else verdict(one.generating)
    cells = [
        one.family.name,
        f"`{one.model}`",
        f"`{first.name.removeprefix('model.')}`",
        *columns,
        str(first.num_shared_experts),
        f"{verdict(one.reading)} ({', '.join(one.implementations)})",
        generating,
    ]
    return f"| {' | '.join(cells)} |\n"


def verdict(error: float) -> str:
    return "exact" if error <= LIMIT else f"off by {error:.1g}"


def written() -> str:
    """The table in the document."""
    text = PAGE.read_text(encoding="utf-8")
    return START + text.partition(START)[2].partition(END)[0] + END


if __name__ == "__main__":
    torch.set_num_threads(1)  # of matrices this small, more are slower
    whole = PAGE.read_text(encoding="utf-8")
    fresh = table([prove(family) for family in families()])
    PAGE.write_text(whole.replace(written(), fresh), encoding="utf-8")
    print(fresh.splitlines()[1])
