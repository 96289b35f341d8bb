"""A function compiled once per type of its arguments."""

import logging
from typing import Any

import numpy as np
import pytest

from keras_tree.loop.compiled import Compiled


def traced(eager: bool = False) -> tuple[Compiled, list[Any]]:
    calls: list[Any] = []

    def total(parts: dict[str, Any]) -> Any:
        calls.append({name: tuple(part.shape) for name, part in parts.items()})
        return sum(part[0] for part in parts.values())

    return Compiled(total, eager=eager), calls


def test_the_first_extent_may_change() -> None:
    function, calls = traced()
    for rows in (3, 1, 7):
        assert float(function({"a": np.ones(rows, "float32")})) == 1
    assert calls == [{"a": (None,)}]


def test_another_type_is_compiled_apart() -> None:
    function, calls = traced()
    function({"a": np.ones(3, "float32")})
    function({"a": np.ones(3, "int32")})
    function({"a": np.ones((3, 2), "float32")})
    function({"a": np.ones(3, "float32"), "b": np.ones(4, "float32")})
    function({"a": np.ones((9, 2), "float32")})
    assert len(calls) == 4


def test_eagerly_it_runs_at_every_call() -> None:
    function, calls = traced(eager=True)
    for rows in (3, 1):
        function({"a": np.ones(rows, "float32")})
    assert calls == [{"a": (3,)}, {"a": (1,)}]


def test_several_trees_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tensorflow"):
        for _ in range(12):
            traced()[0]({"a": np.ones(3, "float32")})
    assert not caplog.records
