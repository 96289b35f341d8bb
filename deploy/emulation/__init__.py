"""Build a bundle's plain-C firmware, run it on an emulated core, and count what it costs."""
