"""Aware training through tensorflow-model-optimization.

Belongs here: all that knows it or tf_keras. Entered from inside functions only: loading this room
imports TensorFlow, Keras and both of them.
"""

from quantize.aware.tfmot.backend import build

__all__ = ["build"]
