"""The interpreters on the host: TensorFlow Lite Micro, and LiteRT where that does not install."""
