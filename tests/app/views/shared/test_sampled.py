from pathlib import Path

from app import workspace
from app.trace import open_trace
from app.views.shared.sampled import sampled


def test_a_sample_is_said_and_all_of_the_texts_are_not(tiny_trace: Path) -> None:
    info = open_trace(workspace.trace_file(tiny_trace)).info
    assert sampled(info, {"n_documents": 3, "n_tokens": 8}) == ""
    assert sampled(info, {"n_documents": 2, "n_tokens": 6}) == (
        " Read: 2 of 3 texts with 6 of 8 tokens, always the same ones."
    )
