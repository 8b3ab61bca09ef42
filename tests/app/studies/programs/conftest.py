"""The kinds of system that programs run on."""

import pytest

from app.studies.programs import runner, sandbox
from app.studies.programs.sandbox import missing_namespaces


@pytest.fixture(params=["namespaces", "landlock", "neither"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kinds of system on which what a test says holds."""
    if request.param != "namespaces":
        monkeypatch.setattr(runner, "missing_namespaces", lambda: "none in this test")
    elif missing_namespaces() is not None:
        pytest.skip("this system gives us no namespaces")
    if request.param == "neither":
        monkeypatch.setattr(sandbox, "has_landlock", lambda: False)
    elif request.param == "landlock" and not sandbox.has_landlock():
        pytest.skip("this system has no Landlock")
    return request.param
