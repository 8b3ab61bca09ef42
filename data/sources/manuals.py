"""HTML manuals of software, as they lie in the documentation packages."""

from collections.abc import Callable, Iterator

from data.sources.html import html_text
from data.sources.source import Folders, Text
from data.sources.text import RepeatedLines, read_text, shuffled_files

NOT_PROSE = ["genindex", "search", "_modules", "py-modindex", "_static", "master.html", "toc.html"]


def manual(package: str, sublabel: str, part: str = "") -> Callable[[Folders], Iterator[Text]]:
    """Reader of the pages whose path within the package contains `part`."""

    def read(folders: Folders) -> Iterator[Text]:
        repeated = RepeatedLines()
        for path in shuffled_files(folders[package], "*.html"):
            inside = path.relative_to(folders[package]).as_posix()
            if part in inside and not any(word in inside for word in NOT_PROSE):
                yield Text(sublabel, repeated.drop(html_text(read_text(path))))

    return read
