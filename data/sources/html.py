"""Readable text of HTML pages."""

import re
from html.parser import HTMLParser


class _TextOfPage(HTMLParser):
    HIDDEN = frozenset(
        ["script", "style", "nav", "header", "footer", "head", "form", "aside", "svg"]
    )
    HIDDEN_CLASSES = frozenset(
        [
            "sphinxsidebar",
            "related",
            "headerlink",
            "bd-sidebar-primary",
            "bd-sidebar-secondary",
            "chlinktop",
            "chlinkbot",
            "chlinkprevnexttop",
            "chlinkprevnextbot",
            "navigation",
            "navheader",
            "navfooter",
            "bibliography-nav",
            "toctree-wrapper",
            "prev-next-area",
        ]
    )
    BLOCKS = frozenset(
        [
            "p",
            "div",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "li",
            "tr",
            "br",
            "pre",
            "table",
            "ul",
            "ol",
            "dl",
            "dt",
            "dd",
            "section",
            "article",
            "blockquote",
            "figure",
            "hr",
            "title",
            "main",
            "body",
        ]
    )
    CELLS = frozenset(("td", "th"))
    VOID = frozenset(["br", "hr", "img", "meta", "link", "input", "col", "area", "base", "wbr"])

    def __init__(self, element_id: str | None) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._element_id = element_id  # only the text inside this element, if one is named
        self._hidden: list[str] = []  # open tags since the hidden element began
        self._inside: list[str] = []  # open tags since the wanted element began
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.BLOCKS or tag in self.CELLS:
            self.parts.append("\n" if tag in self.BLOCKS else " ")
        if tag in self.VOID:
            return
        attributes = dict(attrs)
        classes = (attributes.get("class") or "").split()
        if self._hidden or tag in self.HIDDEN or self.HIDDEN_CLASSES.intersection(classes):
            self._hidden.append(tag)
        if self._inside or (self._element_id and attributes.get("id") == self._element_id):
            self._inside.append(tag)
        self._verbatim += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        for open_tags in (self._hidden, self._inside):
            if tag in open_tags:
                while open_tags.pop() != tag:
                    pass
        self._verbatim -= tag == "pre" and self._verbatim > 0
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._hidden or (self._element_id and not self._inside):
            return
        self.parts.append(data if self._verbatim else re.sub(r"\s+", " ", data))


def html_text(html: str, *, element_id: str | None = None) -> str:
    """Readable text of a page without navigation; `pre` stays verbatim."""
    parser = _TextOfPage(element_id)
    parser.feed(html)
    parser.close()
    text = re.sub(r"[ \t]+\n", "\n", "".join(parser.parts))
    return re.sub(r"\n ?(?=\S)", "\n", re.sub(r"\n{2,}", "\n\n", text)).strip()
