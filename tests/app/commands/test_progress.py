import pytest

from app.commands.progress import progress_bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")


@pytest.mark.usefixtures("terminal")
def test_a_bar_counts_on_a_terminal_and_says_how_fast(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("documents") as advance:
        advance(3, 4, "9 tokens/s")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "documents" in shown.err
    assert "3/4" in shown.err
    assert "9 tokens/s" in shown.err


@pytest.mark.usefixtures("terminal")
def test_of_several_processes_only_the_first_has_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with progress_bar("documents") as advance:
        advance(3, 4)
    assert capsys.readouterr().err == ""


def test_what_is_written_to_a_file_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("documents") as advance:
        advance(3, 4)
    assert capsys.readouterr().err == ""
