"""What a kind of result beside a trace consists of: declared once, checked on writing and
reading."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

LARGEST = 2**32  # ids and counts of a trace lie below
TEXT_BYTES = 10_000  # of one text, at most; as much as an origin has in a trace
NUMBER_BYTES = 16  # of one number and what encodes it


class Facts(Protocol):
    """Of a trace: what a result beside it is held against."""

    @property
    def trace_id(self) -> str: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_experts(self) -> int: ...
    @property
    def layer_sizes(self) -> np.ndarray: ...
    @property
    def num_documents(self) -> int: ...
    @property
    def last_doc_id(self) -> int: ...
    @property
    def num_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers are finite. `optional`: values may be missing."""

    type: pa.DataType
    optional: bool = False
    least: int = 0  # of whole numbers
    below: int = LARGEST

    def problem(self, values: pa.ChunkedArray) -> str:
        """Why these cannot be its values; empty if they can."""
        if values.null_count and not self.optional:
            return "has missing values"
        if pa.types.is_floating(self.type):
            finite = pc.all(pc.is_finite(values)).as_py()
            return "has infinite values" if finite is False else ""
        if pa.types.is_integer(self.type):
            ends = pc.min_max(values).as_py()
            least, most = ends["min"], ends["max"]
            if least is not None and not self.least <= least <= most < self.below:
                return f"goes from {least} to {most}, outside {self.least} to {self.below - 1}"
        if self.is_text and (pc.max(pc.binary_length(values)).as_py() or 0) > TEXT_BYTES:
            return f"has a text of more than {TEXT_BYTES:,} bytes"
        return ""

    @property
    def is_text(self) -> bool:
        return bool(pa.types.is_large_string(self.type))


TEXT = Column(pa.large_string())
TEXT_IF_ANY = Column(pa.large_string(), optional=True)
FLAG = Column(pa.bool_())
FLAG_IF_ANY = Column(pa.bool_(), optional=True)
NUMBER = Column(pa.float64())
NUMBER_IF_ANY = Column(pa.float64(), optional=True)
COUNT = Column(pa.int64(), below=2**63)
COUNT_IF_ANY = Column(pa.int64(), optional=True, below=2**63)
SMALL_NUMBER = Column(pa.float32())
SMALL_NUMBER_IF_ANY = Column(pa.float32(), optional=True)
INT16, UINT32, INT64 = pa.int16(), pa.uint32(), pa.int64()


def whole(
    *, least: int = 0, below: int, type: pa.DataType = INT64, optional: bool = False
) -> Column:
    return Column(type, optional=optional, least=least, below=below)


Shape = type | UnionType | frozenset[str] | tuple["Shape", ...] | Mapping[str, "Shape"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One kind of result: <trace>.<name>.parquet."""

    name: str
    command: str  # that makes it, followed by the trace
    version: int  # another one: made again. Raised when columns or their meaning change
    columns: Callable[[Facts], Mapping[str, Column]]
    rows: Callable[[Facts], tuple[int, int]]  # at least and at most
    parameters: Mapping[str, Shape]  # those that somebody reads
    agrees: Callable[[pd.DataFrame, Facts], bool] | None = None  # whether rows belong together
    parted: bool = False  # its first row group is what is read; all others are there for others

    def table(self, frame: pd.DataFrame, trace: Facts) -> pa.Table:
        """The columns of the kind in their types, missing numbers as missing values, and so are the
        optional columns that the frame lacks."""
        columns = self.columns(trace)
        fields = [(name, column.type) for name, column in columns.items()]
        known = [(name, type_) for name, type_ in fields if name in frame]
        table = pa.Table.from_pandas(frame, pa.schema(known), preserve_index=False)
        for place, (name, column) in enumerate(columns.items()):
            if column.optional and name not in frame:
                table = table.add_column(place, name, pa.nulls(len(frame), column.type))
        for place, (name, type_) in enumerate(fields):
            if pa.types.is_floating(type_):
                known = pc.if_else(pc.is_nan(table[name]), None, table[name])
                table = table.set_column(place, name, known)
        return table

    def problem_of_rows(self, count: int, trace: Facts) -> str:
        least, most = self.rows(trace)
        return "" if least <= count <= most else f"it has {count:,} rows, not {least:,} to {most:,}"

    def bytes_a_row(self, trace: Facts) -> int:
        """At most."""
        columns = self.columns(trace).values()
        return sum(TEXT_BYTES if column.is_text else NUMBER_BYTES for column in columns)

    def problem_of_schema(self, schema: pa.Schema, trace: Facts) -> str:
        columns = self.columns(trace)
        if schema.names != list(columns):
            return f"its columns are not those of {self.name}"
        for name, column in columns.items():
            if (type_ := schema.field(name).type) != column.type:
                return f"its column {name} is {type_}, not {column.type}"
        return ""

    def problem(self, table: pa.Table, trace: Facts, *, read: bool = True) -> str:
        """Why it cannot be such a result of this trace, or not that part of it which is read or
        not; empty if it can."""
        if problem := self.problem_of_schema(table.schema, trace):
            return problem
        if problem := self.problem_of_rows(table.num_rows, trace):
            return problem
        table.validate(full=True)
        for name, column in self.columns(trace).items():
            if problem := column.problem(table[name]):
                return f"its column {name} {problem}"
        if read and self.agrees is not None and not self.agrees(table.to_pandas(), trace):
            return "its rows do not belong together"
        return ""

    def problem_of_columns(self, table: pa.Table, trace: Facts) -> str:
        """Why these are no columns of such a result; texts are dictionaries."""
        columns = self.columns(trace)
        for name in table.column_names:
            column, values = columns[name], table[name]
            if column.is_text:
                problem = "has missing values" if values.null_count and not column.optional else ""
                for chunk in values.chunks[:1]:  # of one dictionary
                    words = chunk.dictionary.cast(column.type)
                    problem = problem or column.problem(pa.chunked_array([words]))
            else:
                problem = column.problem(values)
            if problem:
                return f"its column {name} {problem}"
        return ""

    def problem_of_parameters(self, parameters: Mapping[str, object]) -> str:
        wrong = [
            name
            for name, shape in self.parameters.items()
            if not _fits(parameters.get(name), shape)
        ]
        return f"its parameter {wrong[0]} makes no sense" if wrong else ""


def _fits(value: object, shape: Shape) -> bool:
    """JSON of a type (numbers within 64 bits), one of some words, one of several shapes, or an
    object of shapes."""
    if isinstance(shape, frozenset):
        return isinstance(value, str) and value in shape
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and all(_fits(value.get(n), s) for n, s in shape.items())
    if isinstance(value, int | float) and not -(2**63) <= value < 2**63:
        return False
    return isinstance(value, shape) and not isinstance(value, bool)
