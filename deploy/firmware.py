"""A bundle becomes a firmware folder that builds as it is: sources, build files, nodes, self-test.

Here stands the order of the steps. What each of them writes is in `firmware_folder/`; the sources
that are the same for every bundle are in `firmware_stubs/`.

Example:
    >>> from deploy.board import load_board
    >>> from deploy.firmware import firmware, write_firmware
    >>> from quantize.bundle import Bundle
    >>> made = firmware(Bundle.load("bundle"), load_board("nano33ble"))  # doctest: +SKIP
    >>> made.verdict.fits, sorted(made.files)  # doctest: +SKIP
    (True, ['CMakeLists.txt', 'LICENSE.txt', 'Makefile', ...])
    >>> write_firmware(made, Path("firmware"))  # doctest: +SKIP
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.board import Board
from deploy.firmware_folder.folder import FolderError, WrittenFolder, check_target, write_folder
from deploy.verdict import Verdict
from quantize.bundle import Bundle

__all__ = [
    "RUNTIMES",
    "Firmware",
    "FirmwareError",
    "FolderError",
    "check_target",
    "firmware",
    "write_firmware",
]

RUNTIMES = ("c", "tflm")
"""Plain C, compiled ahead of time; or TensorFlow Lite Micro, whose source is the user's."""

_IMAGE_READER = ("kt_bundle_open", "kt_bundle_path_node", "kt_status_message")
_TITLES = {"c": "in plain C", "tflm": "on TensorFlow Lite Micro"}


class FirmwareError(ValueError):
    """A firmware that cannot be made as asked; says what is possible."""


@dataclass(frozen=True)
class Firmware:
    """A firmware folder that is not written yet.

    Args:
        runtime: One of `RUNTIMES`.
        isa: The instruction set of the kernels; empty on TensorFlow Lite Micro.
        files: Contents by path, with "/".
        verdict: What it takes on its board, and whether it fits.
        untested: Tasks without golden vectors, for which the self-test fails.
    """

    runtime: str
    isa: str
    files: Mapping[str, bytes] = field(repr=False)
    verdict: Verdict = field(repr=False)
    untested: tuple[str, ...] = ()


def firmware(
    bundle: Bundle,
    board: Board,
    runtime: str = "c",
    tasks: str | Iterable[str] | None = None,
    isa: str | None = None,
    kernels: str | None = None,
    allocate: str | None = None,
    pack_weights: str | None = None,
) -> Firmware:
    """Make the files of a firmware folder; the same arguments always give the same bytes.

    Args:
        bundle: A bundle, or what `deploy.models.load_models` made of .tflite files.
        board: The board.
        runtime: One of `RUNTIMES`.
        tasks: Only these tasks, and the nodes that they use; None for all.
        isa: Plain C: "portable", "dsp" or "mve"; None for the best of the board's core.
        kernels: TensorFlow Lite Micro: kernel set; None for the best measured for the core.
        allocate: TensorFlow Lite Micro: "all" (the default) or "one", as for `keras-tree check`.
        pack_weights: Plain C: "auto" (the default) or "never", as for `compile_bundle`.

    Raises:
        FirmwareError: An option is not one of its values, or is one of the other runtime.
        BundleError: A task is unknown.
        CodegenError: A node cannot be compiled to plain C.
        TflmSourcesError: A node cannot be run on TensorFlow Lite Micro.
        ImageError: The bundle holds what a packed image cannot.
        BudgetError: The cost of an operator is not known, or kernels are not for the core.
    """
    _check_options(board, runtime, isa, kernels, allocate, pack_weights)
    from deploy.firmware_folder.golden import with_golden_vectors

    chosen = bundle if tasks is None else bundle.select(tasks)
    chosen = with_golden_vectors(chosen)
    if runtime == "c":
        return _in_c(chosen, board, isa, pack_weights or "auto")
    return _on_tflm(chosen, board, kernels, allocate or "all")


def write_firmware(made: Firmware, folder: Path, force: bool = False) -> WrittenFolder:
    """Write a firmware folder, whole or not at all.

    Args:
        made: The firmware.
        folder: A new or empty folder, or one that was written by this before: files that a user
            changed are kept then, and files of the user's own stay.
        force: Replace files that a user changed.

    Raises:
        FolderError: The folder is foreign, or cannot be written.
    """
    return write_folder(folder, made.files, force)


def _check_options(
    board: Board,
    runtime: str,
    isa: str | None,
    kernels: str | None,
    allocate: str | None,
    pack_weights: str | None,
) -> None:
    from deploy.firmware_folder.kernel_sources import instruction_sets

    _check_choice("runtime", runtime, RUNTIMES)
    if isa is not None:
        _check_choice("isa", isa, ("portable", "dsp", "mve"))
    if pack_weights is not None:
        _check_choice("pack_weights", pack_weights, ("auto", "never"))
    given = {"isa": isa, "pack_weights": pack_weights, "kernels": kernels, "allocate": allocate}
    of_other = ("kernels", "allocate") if runtime == "c" else ("isa", "pack_weights")
    for name in of_other:
        if given[name] is not None:
            other = "tflm" if runtime == "c" else "c"
            raise FirmwareError(
                f"`{name}` is for the runtime {other}, received '{given[name]}' with the runtime "
                f"{runtime}. Leave it out, or choose the runtime {other}."
            )
    if isa is not None and isa not in instruction_sets(board.core):
        raise FirmwareError(
            f"`isa` must be one that {board.core} has, {', '.join(instruction_sets(board.core))}; "
            f"received '{isa}'. Leave it out for the best."
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(value, choices, n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise FirmwareError(
            f"`{name}` must be one of {', '.join(choices)}; received '{value}'.{meant}"
        )


def _in_c(bundle: Bundle, board: Board, isa: str | None, pack_weights: str) -> Firmware:
    from deploy.codegen import compile_bundle
    from deploy.firmware_folder.c_runtime import c_example, c_files, c_places
    from deploy.firmware_folder.figures import c_verdict
    from deploy.firmware_folder.kernel_sources import default_isa
    from deploy.firmware_folder.readme import c_figure_notes

    program = compile_bundle(bundle, isa=isa or default_isa(board.core), pack_weights=pack_weights)
    verdict = c_verdict(bundle, board, program)
    first = next(iter(program.tasks.values()))
    rest = [task for task in list(program.tasks.values())[1:] if task.continues]
    places = {
        **c_places(program),
        "EXAMPLE": c_example(bundle, program),
        "FIGURE_NOTES": c_figure_notes(verdict, program.shared_bytes, program.packs_weights),
        "CONTINUE": ""
        if not rest
        else f"After `{first.run}`, `{next(iter(rest[0].continues.values()))}` runs only the "
        f"branch of task {rest[0].name} on the same input. ",
    }
    return _folder("c", program.isa, bundle, verdict, c_files(bundle, program), places)


def _on_tflm(bundle: Bundle, board: Board, kernels: str | None, allocate: str) -> Firmware:
    from deploy.firmware_folder.cross_compiler import cross_compiler
    from deploy.firmware_folder.figures import tflm_verdict
    from deploy.firmware_folder.readme import tflm_figure_notes
    from deploy.firmware_folder.tflm_runtime import tflm_example, tflm_files, tflm_places
    from deploy.tflm_sources import tflm_sources
    from deploy.tflm_sources.config_header import RUNTIME_REVISION

    verdict = tflm_verdict(bundle, board, kernels, allocate)
    sources = tflm_sources(bundle, board, kernels=kernels, allocate=allocate)
    places = {
        **tflm_places(verdict.footprint.kernels, cross_compiler(board)),
        "EXAMPLE": tflm_example(bundle),
        "FIGURE_NOTES": tflm_figure_notes(verdict),
        "CONTINUE": "`kt_tflm_continue` runs only the branch of another task on the same input. "
        if len(bundle.tasks) > 1 and allocate == "all"
        else "",
        "REVISION": RUNTIME_REVISION,
    }
    return _folder("tflm", "", bundle, verdict, tflm_files(sources), places)


def _folder(
    runtime: str,
    isa: str,
    bundle: Bundle,
    verdict: Verdict,
    files: dict[str, bytes],
    places: dict[str, str],
) -> Firmware:
    """Add what every runtime has: the packed image, its reader, build files and README."""
    from deploy.firmware_folder.cross_compiler import cross_compiler
    from deploy.firmware_folder.readme import readme_places
    from deploy.firmware_folder.templates import cmake_list, filled, make_list, one_line

    files = {**files, **_image_files(bundle)}
    reader = sorted(name for name in _reader_files() if name.endswith(".c"))
    model = sorted(
        name
        for name in files
        if name.startswith(("src/", "model/"))
        and name.endswith((".c", ".cc"))
        and name not in reader
    )
    board = verdict.check.board
    compiler = cross_compiler(board)
    places |= {
        "TITLE": one_line(f"Bundle '{bundle.name}' {_TITLES[runtime]} for {board.name}"),
        "CC": f"{compiler.prefix}-gcc",
        "FLAGS": " ".join(compiler.flags),
    }
    for name, listed in (("Makefile", make_list), ("CMakeLists.txt", cmake_list)):
        lists = {"MODEL": listed(model), "IMAGE": listed(reader)}
        defines = {
            "DEFINES": places.get("DEFINES_MAKE" if name == "Makefile" else "DEFINES_CMAKE", "")
        }
        files[name] = filled(f"{runtime}/{name}", {**places, **lists, **defines})
    places |= readme_places(bundle, verdict, files)
    files["README.md"] = filled(f"{runtime}/README.md", places)
    untested = tuple(name for name, task in bundle.tasks.items() if not len(task.golden_inputs))
    return Firmware(runtime, isa, dict(sorted(files.items())), verdict, untested)


def _image_files(bundle: Bundle) -> dict[str, bytes]:
    from deploy.firmware_sources import firmware_file
    from deploy.packed_image import encode, pack_bundle

    names = (*_reader_files(), "examples/list_image.c")
    return {
        "bundle.bin": encode(pack_bundle(bundle)),
        "LICENSE.txt": firmware_file("project/LICENSE.txt").read_bytes(),
        **{name: firmware_file(name).read_bytes() for name in names},
    }


def _reader_files() -> tuple[str, ...]:
    """The sources that read a packed image, and their headers."""
    from deploy.firmware_folder.kernel_sources import included, kernel_files

    sources = tuple(f"src/{name}" for name in kernel_files(_IMAGE_READER, "portable"))
    return (*sources, *included(sources))
