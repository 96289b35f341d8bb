"""The .tflite encoding: its schema as data, reading and writing the bytes, the graph inside."""
