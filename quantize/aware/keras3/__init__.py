"""Training for int8 in plain Keras 3: nodes stay separate, and their models are only read.

Belongs here: the default backend of aware training, `build`. A node's graph becomes a list of
steps (`program.py`) over copies of its weights, in which kernels and activations are fake-quantized
where the int8 flatbuffer has a tensor. Does not belong here: the loop over epochs.
"""

from quantize.aware.keras3.training import build

__all__ = ["build"]
