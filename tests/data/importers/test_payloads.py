import base64

import numpy as np
import pytest

from data.importers.served.payloads import (
    Layout,
    decoded,
    logical,
    npy_header,
    raw_layers,
    raw_type,
)
from tests.data.importers.engine_payloads import nemo, npy, npy_bytes, raw, routing, verifiers

IDS_TLK = routing(3)  # 3 rows of 2 layers, 2 of 8 experts


@pytest.mark.parametrize(
    "payload",
    [
        IDS_TLK.tolist(),
        npy(IDS_TLK, "<i2"),
        npy(IDS_TLK, "u1"),
        npy(np.asfortranarray(IDS_TLK), "<i4"),
        nemo(IDS_TLK, "int8"),
        nemo(IDS_TLK, "int32"),
        verifiers(IDS_TLK),
        {"data": IDS_TLK.ravel().tolist(), "shape": [3, 2, 2]},
        {"data": IDS_TLK.tolist(), "shape": [3, 2, 2]},
        {"data": raw(IDS_TLK, "<i8"), "shape": [3, 2, 2], "dtype": "int64"},
    ],
)
def test_every_form_that_describes_itself_gives_the_same_ids(payload: object) -> None:
    assert decoded(payload, where="x").tolist() == IDS_TLK.tolist()


@pytest.mark.parametrize("dtype", ["<i4", "<u2", "u1"])
def test_bytes_alone_are_read_by_the_layout(dtype: str) -> None:
    layout = Layout(num_layers=2, top_k=2, raw_type=dtype)
    assert decoded(raw(IDS_TLK, dtype), where="x", layout=layout).tolist() == IDS_TLK.tolist()


@pytest.mark.parametrize("dtype", ["<i4", "<u2", "u1"])
def test_the_type_of_bytes_is_told_by_their_content(dtype: str) -> None:
    ids_TLK = routing(40, layers=3, experts=200)
    assert raw_type([ids_TLK.astype(dtype).tobytes()], 200) == dtype


def test_missing_rows_and_dense_layers_do_not_change_the_type_of_bytes() -> None:
    ids_TLK = routing(40, layers=4, experts=200)
    ids_TLK[:25] = -1
    ids_TLK[25:, :2] = 0
    assert raw_type([ids_TLK.astype("<i4").tobytes()], 200) == "<i4"
    assert raw_type([np.where(ids_TLK < 0, 0, ids_TLK).astype("u1").tobytes()], 200) == "u1"


def test_a_number_of_experts_that_is_too_small_does_not_change_the_type_of_bytes() -> None:
    ids_TLK = routing(40, layers=3, experts=200) + 100
    assert raw_type([ids_TLK.astype("<i4").tobytes()], 8) == "<i4"


def test_layers_follow_from_tokens_and_experts_a_token() -> None:
    assert raw_layers([(9 * 24 * 4, 10)], 4) == 24  # 10 tokens have 9 rows


def test_layers_are_found_though_every_payload_has_a_row_too_many() -> None:
    assert raw_layers([(tokens * 24 * 4, tokens) for tokens in (10, 17, 23)], 4) == 24


def test_layers_are_found_though_one_payload_lacks_a_row() -> None:
    assert raw_layers([(8 * 6, 10), (11 * 6, 12), (19 * 6, 20)], 2) == 3


def test_no_number_of_layers_fits_payloads_of_another_top_k() -> None:
    assert raw_layers([(9 * 25, 10)], 4) is None  # 25 choices a token


def test_the_largest_number_without_sign_is_no_expert_unless_the_model_has_it() -> None:
    ids = np.array([3, 255], np.uint8)
    assert logical(ids, 128).tolist() == [3, -1]
    assert logical(ids, 256).tolist() == [3, 255]
    assert logical(np.array([65_535], np.uint16), 256).tolist() == [-1]


WRONG: list[tuple[object, str]] = [
    (None, "are nothing"),
    (7, "are a number"),
    (True, "are true or false"),
    ([[[1, 2], [3]]], "lists of 1 and of 2"),
    ([[[1, 2]], [[1, 2], [3, 4]]], "lists of 1 and of 2"),
    ([[[1, True]]], "'True' (true or false)"),
    ([[[1, 2.0]]], "'2.0'"),
    ([[[1, "2"]]], "'2' (a text)"),
    ([[[1, None]]], "'None' (nothing)"),
    ([[[10**30, 1]]], "beyond 64 bits"),
    ([1, 2], "a number in routed experts where a list"),
    ([[[[1]]]], "(a list)"),
    ([[]], "in the shape (1, 0, 0)"),
    ("abc", "not base64"),
    ("ä", "not base64"),
    (raw(IDS_TLK), "without a shape"),
    ("nrlre1:int16:3x2x2:AAAA", "are 3 bytes, where i2 in the shape (3, 2, 2) has 24"),
    ("nrlre1:int16:999999999999x2x2:AAAA", "are 3 bytes"),
    ("nrlre1:int64:3x2x2:AAAA", "not base64"),
    ({"data": "AAAA", "shape": [10**12, 2, 2]}, "in the shape"),
    ({"data": "AAAA", "shape": [3, 2]}, "three whole numbers"),
    ({"data": "AAAA", "shape": [3, 2, True]}, "three whole numbers"),
    ({"data": "AAAA", "shape": [-3, 2, 2]}, "in the shape"),
    ({"data": None, "shape": [3, 2, 2]}, "is nothing"),
    ({"data": [1], "shape": [3, 2, 2]}, "12"),
    ({}, "three whole numbers"),
    (base64.b64encode(npy_bytes(IDS_TLK)[:-1]).decode(), "are 23 bytes"),
    (npy(IDS_TLK.astype(float), "<f4"), "whole numbers in the shape"),
    (npy(IDS_TLK, ">i4"), "whole numbers in the shape"),
    (npy(IDS_TLK[0]), "whole numbers in the shape"),
]


@pytest.mark.parametrize(("payload", "said"), WRONG)
def test_what_is_none_of_the_forms_is_refused_in_a_line(payload: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"^x: ") as refusal:
        decoded(payload, where="x")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_bytes_that_are_no_whole_rows_are_refused() -> None:
    layout = Layout(num_layers=2, top_k=2, raw_type="<i4")
    with pytest.raises(ValueError, match="44 bytes, which is no whole number of rows of 16 bytes"):
        decoded(base64.b64encode(bytes(44)).decode(), where="x", layout=layout)


def test_a_payload_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="2 layers and 2 a token, where 3 and 2 are expected"):
        decoded(npy(IDS_TLK), where="x", layout=Layout(num_layers=3, top_k=2))


def test_a_npy_with_objects_is_not_unpickled() -> None:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, 1), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"cos\nsystem\n"
    with pytest.raises(ValueError, match="whole numbers in the shape"):
        npy_header(data, "x")


def test_a_header_that_claims_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match=r"header of the \.npy has 65,535 bytes"):
        npy_header(b"\x93NUMPY\x01\x00\xff\xff{", "x")
