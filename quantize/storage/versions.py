"""Which versions of the library and of its tools are installed, told without importing them."""

from __future__ import annotations

_DISTRIBUTIONS = {
    "keras_tree": "keras-tree",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "tflite_micro": "tflite_micro",
    "ai_edge_litert": "ai-edge-litert",
}


def current_versions() -> dict[str, str]:
    """Return the installed versions by package name, e.g. {"tensorflow": "2.21.0"}.

    A package that is not installed, as `tflite_micro` outside Linux x86-64, is left out.
    """
    found = {name: _installed(title) for name, title in _DISTRIBUTIONS.items()}
    return {name: version for name, version in found.items() if version is not None}


def library_version() -> str:
    """Return the version of keras-tree, or "(not installed)" where it runs from its sources."""
    return _installed(_DISTRIBUTIONS["keras_tree"]) or "(not installed)"


def _installed(distribution: str) -> str | None:
    # Imported here, because reading a bundle never asks for versions and shall be quick.
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
