"""What the README of a firmware folder says of its bundle; its text is a template."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from deploy.firmware_folder.figures import figure_rows, free_bytes
from deploy.firmware_folder.folder import MARKER
from deploy.firmware_folder.templates import markdown_table, one_line
from deploy.report import phrases
from deploy.verdict import Verdict
from quantize.bundle import Bundle, BundleTask
from quantize.storage.versions import library_version
from quantize.tensor_spec import TensorSpec

__all__ = ["c_figure_notes", "readme_places", "tflm_figure_notes"]

_MADE = "made from the bundle"
_COPIED = "copied from keras-tree"
# By the beginning of a path; the first that fits.
_WHAT: Sequence[tuple[str, str, str]] = (
    ("README.md", _MADE, "this text"),
    ("Makefile", _MADE, "builds with make"),
    ("CMakeLists.txt", _MADE, "builds with CMake"),
    ("bundle.bin", _MADE, "the nodes as one packed image"),
    ("LICENSE.txt", _COPIED, "what may be done with the files"),
    ("model/", _MADE, "the model"),
    ("selftest/kt_selftest_data.c", _MADE, "golden vectors"),
    ("selftest/kt_model_", _MADE, "golden vectors and their `main`"),
    ("selftest/", _COPIED, "replays the golden vectors"),
    ("include/", _COPIED, "headers"),
    ("src/", _COPIED, "the kernels that the model uses, the reader of `bundle.bin`"),
    ("cmake/", _COPIED, "compiles TensorFlow Lite Micro"),
    ("examples/", _COPIED, "programs for this machine"),
)


def readme_places(bundle: Bundle, verdict: Verdict, files: Mapping[str, bytes]) -> dict[str, str]:
    """Text by place of the template.

    Args:
        bundle: Of the chosen tasks.
        verdict: What it takes.
        files: All other files of the folder.
    """
    head = ("memory", "bytes", "limit", "error")
    return {
        "SUMMARY": _summary(bundle, verdict),
        "BOARD_TITLE": one_line(verdict.check.board.title),
        "FIGURES": markdown_table(head, figure_rows(verdict)),
        "NORMALIZATION": _normalization(bundle),
        "TASKS": _tasks(bundle),
        "VECTORS": "\n".join(_vectors(task) for task in bundle.tasks.values()),
        "FILES": _files(files),
        "MARKER": MARKER,
        "ORIGIN": _origin(bundle, files["bundle.bin"]),
    }


def c_figure_notes(verdict: Verdict, shared_bytes: int, packs_weights: bool) -> str:
    """Where the figures of the C runtime come from."""
    stored = f" Storing equal arrays once saves {shared_bytes:,} bytes." if shared_bytes else ""
    if packs_weights:
        stored += (
            " Weights of few distinct codes are stored as indices, and unpacked into the buffer "
            "block by block while a layer runs: `--pack-weights never` takes more ROM, and "
            "less RAM and time."
        )
    found = verdict.footprint
    return (
        f"{_room(verdict)} The buffer, the constants and the parameters are exact. Code and stack "
        "are bounds from above; `keras-tree measure` counts them, and the "
        f"instructions.{stored} On TensorFlow Lite Micro the same tasks take "
        f"{found.rom_bytes:,} bytes of ROM and {found.ram_bytes:,} of RAM (`keras-tree check`)."
    )


def tflm_figure_notes(verdict: Verdict) -> str:
    """Where the figures on TensorFlow Lite Micro come from."""
    notes = "".join(f"\n- {one_line(note)}" for note in verdict.notes)
    return (
        f"{_room(verdict)} These are estimates for {verdict.footprint.kernels} kernels with the "
        "stated error, as of `keras-tree check`; the arena's size is a constant in "
        f"`model/kt_model_config.h`.{notes}"
    )


def _room(verdict: Verdict) -> str:
    if verdict.is_within_limits:
        return f"{free_bytes(verdict)}."
    return f"**It does not fit:** {'; '.join(verdict.messages)}."


def _summary(bundle: Bundle, verdict: Verdict) -> str:
    board = verdict.check.board
    return (
        f"Bundle `{one_line(bundle.name)}`: {phrases.model_size(bundle)}; for "
        f"{one_line(board.title)} ({board.core} at {board.clock_hz / 1e6:g} MHz). Written by "
        f"keras-tree {library_version()}."
    )


def _normalization(bundle: Bundle) -> str:
    scale, offset = bundle.input_normalization.scale, bundle.input_normalization.offset
    return (
        "A raw sample becomes a code by `round((raw * "
        f"{scale!r} + {offset!r}) / scale) + zero point`, limited to -128 ... 127; an output code "
        "is `scale * (code - zero point)`."
    )


def _tasks(bundle: Bundle) -> str:
    head = ("task", "path", "input", "output", "labels")
    rows = []
    for task in bundle.tasks.values():
        nodes = bundle.path_nodes(task.name)
        names = one_line(", ".join(task.labels))
        rows.append(
            (
                one_line(task.name),
                " > ".join(task.path),
                _tensor(nodes[0].input),
                _tensor(nodes[-1].output),
                (names if len(names) <= 60 else f"{names[:57]}...") or "-",
            )
        )
    return markdown_table(head, rows)


def _tensor(spec: TensorSpec) -> str:
    shape = " x ".join(map(str, spec.shape[1:])) or "1"
    return f"{shape}, scale {spec.scale:.9g}, zero point {spec.zero_point}"


def _vectors(task: BundleTask) -> str:
    name, count = one_line(task.name), len(task.golden_inputs)
    if not count:
        return (
            f"- {name}: no golden vectors, so the self-test fails and says so. Write the folder "
            "on a machine with the package tflite_micro, or from a bundle."
        )
    by = {"tflm": "TensorFlow Lite Micro", "litert": "LiteRT, which may differ by one code"}
    return f"- {name}: {phrases.counted(count, 'vector')}, computed by {by[task.golden_backend]}."


def _files(files: Mapping[str, bytes]) -> str:
    """A row for each kind of file that is there."""
    names, rows = ["README.md", *files], []
    for prefix, origin, what in _WHAT:
        fitting = [name for name in names if name.startswith(prefix)]
        names = [name for name in names if name not in fitting]
        if fitting:
            shown = f"`{fitting[0] if len(fitting) == 1 else f'{prefix}*'}`"
            rows.append((shown, origin, what))
    return markdown_table(("files", "origin", "what"), rows)


def _origin(bundle: Bundle, image: bytes) -> str:
    rows = [("`bundle.bin`", f"{len(image):,}", f"`{hashlib.sha256(image).hexdigest()}`")]
    rows += [
        (f"node {name}", f"{node.rom_bytes:,}", f"`{node.sha256}`")
        for name, node in bundle.nodes.items()
    ]
    table = markdown_table(("what", "bytes", "SHA-256"), rows)
    tools = ", ".join(f"{name} {version}" for name, version in sorted(bundle.versions.items()))
    return f"{table}\n\nThe bundle was made with {tools}." if tools else table
