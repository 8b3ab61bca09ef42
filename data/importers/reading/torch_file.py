"""A file of torch.save, read without torch and without running its pickle: tensors are found, and
read when they are asked for.

The file is a zip of stored members: `data.pkl`, and one `data/KEY` for each storage.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, Final

import numpy as np

from data.importers.reading.checksum import crc_of
from data.importers.reading.safe_pickle import MOST_BYTES, Name, PickleReader
from data.importers.source import DumpFile

DTYPES: Final = {  # of the storages that a dump may have
    "torch.ByteStorage": "|u1",
    "torch.CharStorage": "|i1",
    "torch.BoolStorage": "|b1",
    "torch.ShortStorage": "<i2",
    "torch.IntStorage": "<i4",
    "torch.LongStorage": "<i8",
    "torch.HalfStorage": "<f2",
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.BFloat16Storage": "bfloat16",
}
MOST_DIMENSIONS = 8
MOST_READ = 512 << 20  # bytes of one tensor
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    struct.error,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The bytes of tensors that share them: a member of the zip."""

    member: zipfile.ZipInfo
    dtype: str
    length: int  # elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Of a file that its TorchFile has open: the values are read when they are asked for."""

    file: "TorchFile"
    storage: Storage
    offset: int  # in elements, as strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def is_integer(self) -> bool:
        return self.storage.dtype[1] in "iu"

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.storage.dtype).itemsize

    def narrow(self, first: int, last: int) -> "Tensor":
        """Rows [first, last) of the first dimension."""
        shape = (last - first, *self.shape[1:])
        return replace(self, offset=self.offset + first * self.strides[0], shape=shape)

    def read(self) -> np.ndarray:
        """Just its bytes. ValueError: the file is damaged there, or it is too much at once."""
        where = f"{self.file.name}: tensor {self.storage.member.filename.rsplit('/', 1)[-1]}"
        if self.storage.dtype == "bfloat16":
            raise ValueError(f"{where} is of bfloat16; counts and ids are integers")
        if not all(self.shape):
            return np.zeros(self.shape, self.storage.dtype)
        reach = zip(self.shape, self.strides, strict=True)
        span = 1 + sum((size - 1) * stride for size, stride in reach)
        item = np.dtype(self.storage.dtype).itemsize
        if span * item > MOST_READ:
            raise ValueError(
                f"{where} takes {span * item:,} bytes; at most {MOST_READ:,} are read at once"
            )
        data = self.file.member(self.storage.member, self.offset * item, span * item)
        flat = np.frombuffer(data, self.storage.dtype)
        strides = tuple(stride * item for stride in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)


class TorchFile:
    """Open until closed. `value` is what was saved, its tensors as `Tensor`."""

    def __init__(self, file: DumpFile) -> None:
        self.name, self._path, self._size = file.name, file.path, file.size
        self._open: IO[bytes] | None = None
        self._whole: set[str] = set()  # members read in parts, whose checksum was compared
        members = self._members()
        pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{self.name} is a zip without data.pkl; give a file of torch.save")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._storages = members
        order = members.get(f"{self._folder}byteorder")
        if order is not None and self.member(order, 0, min(order.file_size, 10)) != b"little":
            raise ValueError(f"{self.name} is not little-endian; save it on another machine")
        pickled = members[pickles[0]]
        if pickled.file_size > MOST_BYTES:
            raise ValueError(
                f"{self.name} holds {pickled.file_size:,} bytes beside its tensors; at most "
                f"{MOST_BYTES:,} are read: record less at once"
            )
        reader = PickleReader(
            self.member(pickled, 0, pickled.file_size),
            self.name,
            calls={
                "torch._utils._rebuild_tensor_v2": self._tensor,
                "collections.OrderedDict": self._empty,
            },
            names=frozenset(DTYPES),
            persistent=self._storage,
        )
        self.value = reader.read()
        self._storages = {}
        self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def member(self, member: zipfile.ZipInfo, start: int, length: int) -> bytes:
        """Bytes of a member."""
        if not 0 <= member.header_offset < self._size:
            raise self._damaged(f"{member.filename!r:.80} begins beyond the end")
        if self._open is None:
            self._open = self._path.open("rb")
        self._open.seek(member.header_offset)
        head = self._open.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise self._damaged(f"no member at byte {member.header_offset:,}")
        _, name, extra = LOCAL_HEADER.unpack(head)
        begin = member.header_offset + 30 + name + extra
        if start + length > member.file_size or begin + member.file_size > self._size:
            raise self._damaged(f"{member.filename!r:.80} reaches beyond the end")
        self._open.seek(begin + start)
        data = self._open.read(length)
        if len(data) < length:
            raise self._damaged(f"{member.filename!r:.80} is cut off")
        if member.filename not in self._whole:
            parts = length < member.file_size
            found = crc_of(self._open, begin, member.file_size) if parts else zlib.crc32(data)
            if found != member.CRC:
                raise self._damaged(f"{member.filename!r:.80} does not fit its checksum")
            if parts:
                self._whole.add(member.filename)
        return data

    def _damaged(self, what: str) -> ValueError:
        return ValueError(f"{self.name} is damaged: {what}; copy it again")

    def _members(self) -> Mapping[str, zipfile.ZipInfo]:
        with self._path.open("rb") as file:
            if not file.read(4).startswith(b"PK"):
                raise ValueError(
                    f"{self.name} is not the zip that torch.save writes since version 1.6; save it "
                    "again with a newer one"
                )
        try:
            with zipfile.ZipFile(self._path) as zipped:
                infos = zipped.infolist()
        except OSError as error:
            raise self._damaged(error.strerror or "cannot be read") from error
        except ZIP_ERRORS as error:
            raise self._damaged("no directory of a zip at its end") from error
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ValueError(
                    f"{self.name}: {info.filename!r:.80} is compressed or encrypted, which "
                    "torch.save never does; save it again"
                )
        return {info.filename: info for info in infos}

    def _empty(self, arguments: tuple[object, ...]) -> object:
        if arguments:
            raise self._damaged("an OrderedDict with contents")
        return {}

    def _storage(self, reference: tuple[object, ...]) -> object:
        if len(reference) != 5 or reference[0] != "storage":
            raise self._damaged("a reference that is no storage")
        kind, key, length = reference[1], reference[2], reference[4]
        if not isinstance(kind, Name) or kind.full not in DTYPES:
            raise self._damaged("a storage without a type")
        member = self._storages.get(f"{self._folder}data/{key}") if type(key) is str else None
        if member is None:
            raise self._damaged("a storage whose bytes are missing")
        dtype = DTYPES[kind.full]
        item = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if type(length) is not int or length * item != member.file_size:
            shown = length if type(length) is int else type(length).__name__
            raise self._damaged(
                f"storage {key!r:.20} of {shown} elements of {item} bytes has "
                f"{member.file_size:,} bytes"
            )
        return Storage(member=member, dtype=dtype, length=length)

    def _tensor(self, arguments: tuple[object, ...]) -> object:
        storage, offset, shape, strides = (*arguments, None, None, None, None)[:4]
        if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
            raise self._damaged("a tensor without a storage")
        sizes, steps = _lengths(shape), _lengths(strides)
        if sizes is None or steps is None or len(sizes) != len(steps):
            raise self._damaged("a tensor without a shape")
        last = offset + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if all(sizes) and (last >= storage.length or math.prod(sizes) > storage.length):
            raise self._damaged(
                f"a tensor of shape {sizes} in a storage of {storage.length} elements"
            )
        return Tensor(file=self, storage=storage, offset=offset, shape=sizes, strides=steps)


def _lengths(value: object) -> tuple[int, ...] | None:
    """Sizes or strides; None where they are none."""
    if not isinstance(value, tuple) or len(value) > MOST_DIMENSIONS:
        return None
    if not set(map(type, value)) <= {int} or (value and not 0 <= min(value) <= max(value) < 2**48):
        return None
    return value
