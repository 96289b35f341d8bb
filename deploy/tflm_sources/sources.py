"""The files that are generated of a bundle, by name."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.board import Board
from deploy.tflm_sources.config_header import config_header
from deploy.tflm_sources.config_source import config_source
from deploy.tflm_sources.data_source import DATA_FORMS, data_files
from deploy.tflm_sources.golden_source import golden_source
from deploy.tflm_sources.model import TflmSourcesError, make_model
from deploy.tflm_sources.selftest_source import selftest_source
from quantize.bundle import Bundle


def tflm_sources(
    bundle: Bundle,
    board: Board,
    tasks: Iterable[str] | None = None,
    kernels: str | None = None,
    allocate: str = "all",
    data: str = "array",
) -> dict[str, str | bytes]:
    """Generate what runs a bundle on TensorFlow Lite Micro, beside `firmware_stubs/tflm`.

    The self-test is `kt_model_selftest.cc` with `kt_model_golden.cc`; a firmware needs neither.

    Args:
        bundle: The bundle.
        board: The board; the arena's size is that of its core.
        tasks: Only these tasks and the nodes that they use; None for all.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8"; None for the best one measured for the
            board's core.
        allocate: "all" for every path in the arena at once, with the shared tensors kept; "one" for
            only the path that runs, allocated anew when another one is asked for.
        data: "array" for the nodes as arrays of C++; "incbin" for an assembler file that includes
            the .tflite files, which are then among the files.

    Returns:
        By file name, relative and with "/", its content; bytes for a .tflite file.

    Raises:
        TflmSourcesError: A node has not one int8 input and one int8 output, or an argument is not
            one of its values.
        BundleError: A task is not one of the bundle's.
        CoreError: The kernel set is unknown, or not made for the board's core.
        RomError: An operator is none that the runtime has.
        RamError: A node's memory is not known.
    """
    if data not in DATA_FORMS:
        raise TflmSourcesError(f"`data` must be one of {', '.join(DATA_FORMS)}; received {data!r}.")
    wanted = None if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)
    model = make_model(bundle, board, wanted, kernels, allocate)
    return {
        "kt_model_config.h": config_header(model),
        "kt_model_config.cc": config_source(model),
        **data_files(model, data),
        "kt_model_golden.cc": golden_source(model),
        "kt_model_selftest.cc": selftest_source(),
    }
