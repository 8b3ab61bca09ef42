"""What a search for garbage passes over."""

import gc

from app import garbage


def test_what_is_loaded_is_spared_once_a_page() -> None:
    before = gc.get_freeze_count()
    try:
        garbage.spare_what_is_loaded("a page")
        spared = gc.get_freeze_count()
        assert spared > before
        later: list[list[int]] = [[] for _ in range(1_000)]
        garbage.spare_what_is_loaded("a page")
        assert gc.get_freeze_count() <= spared
        assert later
    finally:
        gc.unfreeze()
