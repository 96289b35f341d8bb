"""The text of a manifest: JSON that reads back, with one line for what fits on one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize.bundle import BundleError
from quantize.storage.manifest_json import json_text, parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON))
def test_what_is_written_is_read(value):
    text = json_text(value)
    assert json.loads(text) == value
    assert parse_json(text.encode("utf-8")) == value


def test_short_values_stand_on_one_line():
    text = json_text({"spec": {"shape": [1, 8, 8, 1], "scale": 0.5}, "long": ["x" * 60] * 3})
    assert text.splitlines() == [
        "{",
        '  "spec": {"shape": [1, 8, 8, 1], "scale": 0.5},',
        '  "long": [',
        *[f'    "{"x" * 60}"{"," if index < 2 else ""}' for index in range(3)],
        "  ]",
        "}",
    ]


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": float("nan")})
    with pytest.raises(BundleError, match="Infinity is not JSON"):
        parse_json(b'{"a": Infinity}')
