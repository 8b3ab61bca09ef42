"""What tests of the command line share."""

from collections.abc import Callable

Run = Callable[..., str]  # arguments -> the line on stderr
