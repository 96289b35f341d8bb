"""Adam with one operation per variable, and a count of steps per node.

Belongs here: the update. A node that one task alone runs takes fewer steps than a shared one, so
each counts its own. TensorFlow's fused kernel is one operation where Keras's Adam is a dozen, which
a small net's step feels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


class Adam:
    """Adam ("Adam: A Method for Stochastic Optimization", arXiv:1412.6980), as Keras sets it.

    Args:
        learning_rate: Above 0.
        variables: Per node the variables that it trains; every one in one node only.
    """

    def __init__(
        self, learning_rate: float, variables: Mapping[str, Sequence[tf.Variable]]
    ) -> None:
        self._learning_rate = learning_rate
        self._counts = {name: _zeros(()) for name in variables}
        self._moments = {
            id(variable): (variable, _zeros(variable.shape), _zeros(variable.shape))
            for of_node in variables.values()
            for variable in of_node
        }

    def apply(self, name: str, updates: Iterable[tuple[tf.Tensor, tf.Variable]]) -> None:
        """Take one step on variables of a node.

        Args:
            name: The node's name.
            updates: Gradients and variables.
        """
        count = self._counts[name].assign_add(1.0)
        for gradient, variable in updates:
            _, first, second = self._moments[id(variable)]
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=_BETA_1**count,
                beta2_power=_BETA_2**count,
                lr=self._learning_rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )


def _zeros(shape: Sequence[int]) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False)
