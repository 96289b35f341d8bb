"""From a flatbuffer's operators to calls of kernels: one file per family of operators."""
