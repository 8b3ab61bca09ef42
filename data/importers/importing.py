"""Dumps of other tools as batches that a trace takes: found out, read, checked, labelled."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from data.counts import CountsBatch
from data.importers.checks.findings import finding, summed
from data.importers.checks.integrity import Checked
from data.importers.formats import named, recognized
from data.importers.labels import Labels
from data.importers.physical import with_given_map
from data.importers.source import DumpFile, Importer, Meter, Options, Source, dump_files
from data.importers.token_texts import TextNumbers, TokenTexts
from data.new_trace import TraceDescription
from data.routing import Finding, LayerDescription, RoutingBatch

NO_OPTIONS = Options()


class Dump:
    """Opened files of one format. Iterate once: the batches end with the findings."""

    def __init__(
        self, paths: Sequence[Path], options: Options = NO_OPTIONS, *, format: str | None = None
    ) -> None:
        """ValueError: not of a format that is known, or not sound, or an option is missing."""
        self.options = options
        files = dump_files(paths)
        left: list[DumpFile] = []
        if format is None:
            importer, files, left = recognized(files, folder=any(map(Path.is_dir, paths)))
        else:
            importer = named(format)
        self.files, self.title = files, importer.TITLE
        self.meter = Meter(sum(file.size for file in files))
        self.labels = Labels(options)
        self._texts = TokenTexts(options.tokenizer) if options.tokenizer else None
        self._numbers = TextNumbers()
        try:
            self.source = self._opened(importer, left)
            self._checked = Checked(self.source, options, self.meter)
        except (ValueError, OSError) as error:
            raise self._naming_files(error) from error

    def _opened(self, importer: Importer, left: list[DumpFile]) -> Source:
        source = importer.source(self.files, self.options)
        found = [finding("not-read", len(left), left[0].name)] if left else []
        return replace(
            source,
            physical_map_LP=with_given_map(source, self.options),
            findings=(*source.findings, *found),
        )

    def _naming_files(self, error: ValueError | OSError) -> Exception:
        """What is wrong with all of a dump, or with a disk, names no file by itself."""
        names = [file.name for file in self.files]
        if any(name in str(error) for name in names):
            return error
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        return ValueError(f"{names[0]}{more}: {error}")

    @property
    def layers(self) -> tuple[LayerDescription, ...]:
        return self._checked.layers

    @property
    def findings(self) -> list[Finding]:
        """So far; all of them after the last batch."""
        return summed([*self._checked.findings, *self._own_findings()])

    def _own_findings(self) -> list[Finding]:
        return [*self._numbers.findings(), *self.labels.findings()]

    def __iter__(self) -> Iterator[RoutingBatch | CountsBatch]:
        held: RoutingBatch | CountsBatch | None = None
        for batch in self._read():
            if held is not None:
                yield held
            held = self._labelled(batch)
        assert held is not None
        yield replace(held, findings=(*held.findings, *self._own_findings()))

    def _read(self) -> Iterator[RoutingBatch | CountsBatch]:
        batches = self._checked.batches()
        while True:
            try:
                batch = next(batches, None)
            except OSError as error:
                raise self._naming_files(error) from error
            if batch is None:
                return
            yield batch

    def _labelled(self, batch: RoutingBatch | CountsBatch) -> RoutingBatch | CountsBatch:
        if self._texts is not None and isinstance(batch, RoutingBatch):
            batch = self._texts.added(batch)
        if isinstance(batch, RoutingBatch) and self.source.described is None:
            batch = self._numbers.numbered(batch)
        return replace(batch, documents=tuple(map(self.labels.labelled, batch.documents)))

    def description(self, name: str) -> TraceDescription:
        """Of a trace of it."""
        source = self.source
        if source.described is not None:
            return replace(source.described, name=name)
        tokenizer = self._texts.path.name if self._texts else source.tokenizer
        return TraceDescription(
            name=name,
            source=source.engine,
            model_name=source.model_name,
            model_sha256="",
            tokenizer=tokenizer,
            layers=self.layers,
            seed=None,
            config={"model": source.config, **self._capture()},
            counts_only=source.counts_only,
        )

    def _capture(self) -> dict[str, object]:
        files: dict[str, object] = {
            "format": self.source.format,
            "files": len(self.files),
            "first_file": self.files[0].name,
            "bytes": self.meter.total,
        }
        if (summary := self.labels.summary) is None:
            return {"import": files}
        prompts = {"file": str(getattr(self.options.prompts, "name", "")), "sha256": summary.sha256}
        groups = summary.grouping.described()
        return {"import": files, "capture": {"prompts": prompts, "groups": groups}}
