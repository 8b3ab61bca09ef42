"""What Python looks through for garbage: Streamlit asks for all of it after every run of a page."""

import functools
import gc


@functools.cache
def spare_what_is_loaded(page: str) -> None:
    """After a page's first run: modules stay for good, and to look through them is most of what a
    look at the jobs costs, every second in every tab."""
    gc.collect()
    gc.freeze()
