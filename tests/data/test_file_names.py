import pytest

from data.file_names import LONGEST, MOST_BYTES, file_name, required_name

NAMES = [
    "mine",
    "my trace-2.b",
    "日本語",
    "рассказы",
    "हिन्दी",
    "عربي",
    "می\u200cروم",
    "한국어",
    "🎉 1",
    "é",
]
PATHS = ["", "../up", "/etc/passwd", "a/b", "a\\b", ".hidden", " a", "-a", "a\nb", "a\0b", "a:b"]
UNSEEN = ["\u202egpj", "a\u2066b", "a\u200bb", "\u0085", "a\u2028b", "\ud800", "\ue000", "a\u2215b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_script_is_a_name(name: str) -> None:
    assert required_name(name) == name
    assert file_name(name, "load") == f"{name.replace(' ', '_').replace('-', '_')}-load"


@pytest.mark.parametrize("name", [*PATHS, *UNSEEN, "a" * (LONGEST + 1), "語" * 60])
def test_a_name_that_a_path_or_a_screen_reads_otherwise_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"letters of any script.*; found"):
        required_name(name)


@pytest.mark.parametrize("name", ["con", "NUL", "com1", "lpt9.old", "Aux"])
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="reserve"):
        required_name(name)
    assert required_name(f"{name[0]} {name}")


def test_two_spellings_of_a_letter_are_one_name() -> None:
    assert required_name("e\u0301") == "\u00e9"
    assert file_name("e\u0301") == "\u00e9"


@pytest.mark.parametrize("name", [*PATHS, *UNSEEN, "語" * 500, "\u202e"])
def test_every_text_makes_a_file_name_within_its_bounds(name: str) -> None:
    made = file_name(name, "load")
    assert made.endswith("-load")
    assert len(made.removesuffix("-load").encode()) <= MOST_BYTES
    assert made.replace("-load", "", 1) == "unnamed" or required_name(made.removesuffix("-load"))


def test_what_a_path_reads_is_replaced() -> None:
    assert file_name("../my trace", "load") == "my_trace-load"
    assert file_name("a\u202egpj.csv") == "a_gpj.csv"
    assert file_name("...", "load") == "unnamed-load"
