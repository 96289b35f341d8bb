"""In which order nodes run, and that shared ones run once."""

import pytest

from keras_tree.loop.forward import run_order

CASES = {
    "a trunk and branches": (
        {"a": "tx", "b": "ty"},
        [("t", "ab"), ("x", "a"), ("y", "b")],
    ),
    "a deeper tree": (
        {"a": "tmx", "b": "tmy", "c": "tz"},
        [("t", "abc"), ("m", "ab"), ("x", "a"), ("y", "b"), ("z", "c")],
    ),
    "a node reached from different nodes waits for all": (
        {"a": "txs", "b": "tys"},
        [("t", "ab"), ("x", "a"), ("y", "b"), ("s", "ab")],
    ),
    "a node that one path skips": (
        {"a": "txs", "b": "ts"},
        [("t", "ab"), ("x", "a"), ("s", "ab")],
    ),
    "opposite orders need a second run": (
        {"a": "txys", "b": "tyxs"},
        [("t", "ab"), ("x", "a"), ("y", "ab"), ("x", "b"), ("s", "ab")],
    ),
    "paths cut short": ({"a": "t", "b": ""}, [("t", "a")]),
}


@pytest.mark.parametrize("case", CASES)
def test_run_order(case: str) -> None:
    paths, expected = CASES[case]
    assert run_order(paths) == tuple((node, tuple(tasks)) for node, tasks in expected)
