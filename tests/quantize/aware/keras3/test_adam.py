"""The update is Keras's Adam, with a count of steps per node."""

import keras
import numpy as np
import tensorflow as tf

from quantize.aware.keras3.adam import Adam


def test_equals_adam_of_keras() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(4, 3)).astype(np.float32)
    ours, theirs = tf.Variable(start), keras.Variable(start)
    adam, known = Adam(1e-2, {"node": [ours]}), keras.optimizers.Adam(1e-2)
    known.build([theirs])
    for _ in range(20):
        gradient = tf.constant(random.normal(size=start.shape).astype(np.float32))
        adam.apply("node", [(gradient, ours)])
        known.apply([gradient], [theirs])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)
    assert np.abs(ours.numpy() - start).max() > 0.1


def test_every_node_counts_its_own_steps() -> None:
    shared, private = tf.Variable([1.0]), tf.Variable([1.0])
    adam = Adam(1e-2, {"shared": [shared], "private": [private]})
    for _ in range(5):
        adam.apply("shared", [(tf.constant([1.0]), shared)])
    np.testing.assert_array_equal(private.numpy(), [1.0])
    adam.apply("private", [(tf.constant([1.0]), private)])
    # The first step of Adam is the learning rate, however late it comes.
    np.testing.assert_allclose(private.numpy(), [0.99], rtol=1e-6)
