"""Every source of the corpus. Of two equal documents the first in this order is kept."""

from data.sources import code, long_texts, mathematics, multilingual, other, prose
from data.sources.source import Source

SOURCES: tuple[Source, ...] = (
    *mathematics.SOURCES,
    *code.SOURCES,
    *multilingual.SOURCES,
    *prose.SOURCES,
    *long_texts.SOURCES,
    *other.SOURCES,
)
