"""What the studies make of a model of another make."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.studies import redundancy
from app.studies.reader import Tracer, own_model
from data.groups import Grouping
from model.fingerprint import shard_name
from tests.foreign import EXPERTS, ForeignModel


@pytest.fixture
def tracer(tmp_path: Path) -> Tracer:
    (tmp_path / "config.json").write_text('{"model_type": "sums"}')
    (tmp_path / shard_name(1, 1)).write_bytes(b"weights")
    return Tracer(tmp_path, ForeignModel())


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("hello\nexpert\nrouter\nlong\n")
    return path


def test_a_trace_says_what_the_model_says_of_itself(tracer: Tracer, tmp_path: Path) -> None:
    grouping = Grouping(source="column", documents=4, groups=2)
    described = tracer.description("foreign", prompts={"file": "x"}, grouping=grouping)
    assert described.source == "elsewhere"
    assert described.model_name.startswith("Sums 0.0")
    assert (described.num_layers, described.num_experts, described.top_k) == (2, EXPERTS, 2)
    assert [layer.scoring for layer in described.layers] == ["sqrtsoftplus"] * 2
    assert described.config["model"] == {"blocks": 2}
    capture = described.config["capture"]
    assert isinstance(capture, dict)
    assert capture["device"] == "cpu"


def test_its_experts_are_compared(tracer: Tracer, texts: Path) -> None:
    used = redundancy.calibration(tracer.model, texts)
    known = redundancy.measure(tracer, used)
    assert known.num_tokens == len("helloexpertrouterlong")
    assert known.tokens_LE.sum(1).tolist() == [2 * known.num_tokens] * 2
    assert known.outputs.shape == (2, EXPERTS, EXPERTS)
    np.testing.assert_allclose(np.diagonal(known.outputs, axis1=1, axis2=2), 1, rtol=1e-5)
    assert known.expert_parameters == 3 * 5 * 6
    assert known.top_k == 2


def test_ids_that_share_weights_are_not_compared(
    tracer: Tracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")  # of ours
    pruned = SimpleNamespace(expert_leaders=((0, 0),))
    monkeypatch.setattr("model.config_file.load_config", lambda folder: pruned)
    with pytest.raises(ValueError, match="already been pruned"):
        redundancy.require_not_pruned(tracer)


def test_its_weights_are_not_ours_to_rewrite(tracer: Tracer) -> None:
    with pytest.raises(ValueError, match="is not one that RouteScope trains"):
        own_model(tracer)
