"""The parts of a bundle and its folder: manifest, golden vectors, reading and whole writing."""
