"""Ids: which values can be one, doubled ones, and the spellings of one number."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.formats.ids import as_id, as_listed, is_id, refuse_doubles, shown


@pytest.mark.parametrize("value", [0, -3, 42, "42", "a.jpg", " "])
def test_numbers_and_texts_are_ids(value):
    assert is_id(value)


@pytest.mark.parametrize("value", [True, False, None, 4.0, "", [4], {}])
def test_other_values_are_none(value):
    assert not is_id(value)


@pytest.mark.parametrize(("value", "key"), [(724.0, 724), (-0.0, 0), (7, 7), ("7.0", "7.0")])
def test_a_whole_number_with_a_point_is_that_number(value, key):
    assert as_id(value) == key
    assert type(as_id(value)) is type(key)


@pytest.mark.parametrize("value", [724.5, float("nan"), float("inf"), 2.0**60, True, None, "", []])
def test_other_numbers_are_none(value):
    assert as_id(value) is None


def test_odd_texts_are_shown_as_json():
    assert shown(["a\nb", "", "é", "x" * 99]) == f'"a\\nb", "", é, "{"x" * 79}'


def test_five_ids_are_shown():
    assert shown([3, "a"]) == "3, a"
    assert shown(range(5)) == "0, 1, 2, 3, 4"
    assert shown(range(7)) == "0, 1, 2, 3, 4 and 2 more"


def test_doubled_ids_are_named_in_their_order():
    refuse_doubles(Path("a.json"), "image", [7, "7", 11])
    reason = "a.json lists image ids more than once: 11, 7; keep one"
    with pytest.raises(InputError, match=f"^{reason}$"):
        refuse_doubles(Path("a.json"), "image", iter([3, 11, 7, 11, 7, 11]))


@pytest.mark.parametrize("listed", [42, "42", "000000000042"])
@pytest.mark.parametrize("key", [42, "42", "000000000042", "42.0"])
def test_every_spelling_is_found(key, listed):
    assert as_listed({key: "x", 5: "y"}, [7, listed, "a"]) == {listed: "x", 5: "y"}


@pytest.mark.parametrize(
    "key",
    [
        "a42",
        "42.jpg",
        "42.5",
        "42.",
        ".0",
        "42.00",
        " 42",
        "-42",
        "4²",
        "٤٢",
        43,
        "042a",
        "9" * 5000,
    ],
)
def test_other_ids_stay(key):
    assert as_listed({key: "x"}, [42]) == {key: "x"}


def test_zero_has_spellings_too():
    assert as_listed({"000": "x"}, [0]) == {0: "x"}


def test_an_exact_spelling_comes_first():
    assert as_listed({"007": "x", 7: "y"}, ["007", 7]) == {"007": "x", 7: "y"}


def test_only_plain_digits_are_a_number():
    assert as_listed({"0²": "x", "0٤": "y"}, ["²", "٤"]) == {"0²": "x", "0٤": "y"}


def test_a_number_listed_in_two_spellings_is_nobodys():
    assert as_listed({"07": "x"}, ["007", 7]) == {"07": "x"}


def test_two_spellings_of_one_id_are_refused():
    reason = "id 42 is given in two spellings, one being '042'; keep one"
    with pytest.raises(InputError, match=f"^{re.escape(reason)}$"):
        as_listed({42: "x", "042": "y"}, [42])


@given(st.dictionaries(st.integers(0, 10**12), st.text()), st.integers(0, 13))
def test_padding_changes_nothing(values: dict[int, str], width: int):
    padded: dict[int | str, str] = {f"{key:0{width}}": value for key, value in values.items()}
    assert list(as_listed(padded, values).items()) == list(values.items())
