"""A function compiled once per type of its arguments, not once per size."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Compiled:
    """Compiles a function when it is first called with arguments of some type.

    The first extent of every array, a number of rows or steps, may change from call to call.

    Args:
        function: Takes nested structures of arrays.
        eager: Whether to run it as it is, for debugging.
    """

    def __init__(self, function: Callable[..., Any], eager: bool = False) -> None:
        self._function = function
        self._eager = eager
        self._by_type: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns."""
        if self._eager:
            return self._function(*tf.nest.map_structure(tf.convert_to_tensor, arguments))
        types = tf.nest.map_structure(open_type, arguments)
        key = tuple(tf.nest.flatten(types))
        if key not in self._by_type:
            # TensorFlow counts compilations by code, and would warn of those of several trees; a
            # partial is a function of its own.
            function = functools.partial(self._function)
            self._by_type[key] = tf.function(function, input_signature=types, autograph=False)
        return self._by_type[key](*arguments)


def open_type(array: Any) -> tf.TensorSpec:
    """Return an array's type with an open first extent."""
    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)
