"""Turn a trained tree into a bundle: one int8 .tflite file per node, with exact seams."""
