"""A bundle compiled ahead of time to C99: no interpreter, no flatbuffer at run time, no heap.

Belongs here: the order of the stages. Does not belong here: any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deploy.codegen.compiled import CProgram, TaskProgram
from deploy.codegen.constants import ConstantStore
from deploy.codegen.emit_data import data_header, data_source
from deploy.codegen.emit_header import model_header, task_tables
from deploy.codegen.emit_source import model_source
from deploy.codegen.lowering.node import lower_node
from deploy.codegen.names import CNames, c_names
from deploy.codegen.packing import PACKING, packed_code_bytes, worthwhile
from deploy.codegen.plan import Plan, make_plan
from deploy.codegen.program import CodegenError
from deploy.codegen.room import rooms
from deploy.codegen.savings import savings
from deploy.codegen.scratch import ISAS
from quantize.bundle import Bundle

__all__ = ["PACK_WEIGHTS", "compile_bundle"]

PACK_WEIGHTS = ("auto", "never")
"""Whether weights may be stored as indices of a few bits."""


def compile_bundle(
    bundle: Bundle,
    isa: str = "portable",
    tasks: str | Iterable[str] | None = None,
    keep_seams: bool = True,
    pack_weights: str = "auto",
) -> CProgram:
    """Compile a bundle to C.

    The C calls the kernels of `firmware_stubs/include/kt_kernels.h` and computes, code for code,
    what TensorFlow Lite Micro computes.

    Args:
        bundle: Of `quantize`, or any models of `deploy.models.load_models`.
        isa: The kernels that it is compiled for: "portable", "dsp" (Cortex-M with the DSP
            extension) or "mve" (Helium).
        tasks: Names of tasks; None for all.
        keep_seams: Whether a branch can run alone on what an earlier path left behind the trunk
            (`kt_continue_<task>`). Without, a single path may need less memory.
        pack_weights: One of `PACK_WEIGHTS`. "auto": where it takes less flash, the code that
            unpacks them included, weights of few distinct codes per channel are stored as indices
            of 1 to 4 bits, and int4 weights as they are; a layer then takes longer. "never": as
            int8 codes.

    Returns:
        The sources, and what they take.

    Raises:
        CodegenError: A node holds what has no kernel; names it and says what to do.
        BundleError: The bundle has no such task.
    """
    if isa not in ISAS:
        raise CodegenError(
            f"`isa` must be one of {', '.join(ISAS)}, received {isa!r}. "
            "Take 'portable' for a core with neither the DSP extension nor Helium."
        )
    if pack_weights not in PACK_WEIGHTS:
        raise CodegenError(
            f"`pack_weights` must be one of {', '.join(PACK_WEIGHTS)}, received {pack_weights!r}. "
            "Take 'never' where time counts more than flash."
        )
    if tasks is not None:
        bundle = bundle.select(tasks)
    none = frozenset[str]()
    packed = _compiled(bundle, isa, keep_seams, PACKING if pack_weights == "auto" else none)
    if not packed.packs_weights:
        return packed
    chosen = worthwhile(savings(packed))
    if not packed.kernels & PACKING <= chosen:
        packed = _compiled(bundle, isa, keep_seams, chosen)
    plain = _compiled(bundle, isa, keep_seams, none)
    flash_bytes = packed.stored_bytes + packed.parameter_bytes + packed_code_bytes(packed.kernels)
    return packed if flash_bytes < plain.stored_bytes + plain.parameter_bytes else plain


def _compiled(bundle: Bundle, isa: str, keep_seams: bool, packing: frozenset[str]) -> CProgram:
    paths = {name: task.path for name, task in bundle.tasks.items()}
    used = {node for path in paths.values() for node in path}
    nodes = {name: node.data for name, node in bundle.nodes.items() if name in used}
    store, plan = _planned(nodes, paths, isa, keep_seams, packing)
    names = c_names(bundle.name, plan.nodes, paths)
    offered = {name: _task(name, path, plan, names) for name, path in paths.items()}
    constants = store.stored()
    source = model_source(plan, names, offered, isa, task_tables(bundle, names, offered))
    return CProgram(
        files={
            "kt_model.h": model_header(bundle, plan, names, offered),
            "kt_model.c": source.text,
            "kt_model_data.h": data_header(constants),
            "kt_model_data.c": data_source(constants),
        },
        isa=isa,
        buffer_bytes=plan.buffer_bytes,
        plan=plan.tensors(),
        constants=constants,
        parameter_bytes=source.parameter_bytes,
        kernels=plan.functions,
        tasks=offered,
        node_functions={name: names.run_node(name) for name in plan.nodes},
        nodes=plan.nodes,
    )


def _planned(
    nodes: Mapping[str, bytes],
    paths: Mapping[str, tuple[str, ...]],
    isa: str,
    keep_seams: bool,
    packing: frozenset[str],
) -> tuple[ConstantStore, Plan]:
    """The nodes' constants, their steps, and where everything lies."""

    def lowered(spare: Mapping[str, Mapping[int, int]]) -> tuple[ConstantStore, Plan]:
        store = ConstantStore()
        steps = {
            name: lower_node(name, data, store, isa, packing, spare.get(name, {}))
            for name, data in nodes.items()
        }
        return store, make_plan(steps, paths, keep_seams)

    first = lowered({})
    if not first[1].functions & PACKING:
        return first
    # What is to spare beside the blocks that there must be lets more be unpacked at a time.
    second = lowered(rooms(first[1], paths))
    return second if second[1].buffer_bytes <= first[1].buffer_bytes else first


def _task(name: str, path: tuple[str, ...], plan: Plan, names: CNames) -> TaskProgram:
    first, last = plan.nodes[path[0]], plan.nodes[path[-1]]
    return TaskProgram(
        name=name,
        identifier=names.tasks[name],
        enumerator=names.enumerator(name),
        path=path,
        input_offset=plan.offsets[path[0], first.input],
        input_bytes=first.values[first.input].size_bytes,
        output_offset=plan.offsets[path[-1], last.output],
        output_bytes=last.values[last.output].size_bytes,
        continues=_continues(name, path, plan, names),
    )


def _continues(name: str, path: tuple[str, ...], plan: Plan, names: CNames) -> Mapping[str, str]:
    """A function for each kept seam on a path; the one nearest the trunk has the short name."""
    found: dict[str, str] = {}
    for length in range(1, len(path)):
        if path[:length] in plan.kept and path[length - 1] not in found:
            node = path[length - 1]
            found[node] = names.goes_on(name, None if not found else node)
    return found
