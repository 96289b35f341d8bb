"""Rules: lookup tables that cost more flash than they save, and weights that could be tables.

TensorFlow Lite Micro unpacks such weights into its arena before each layer (TFLM_DECODE); the
plain-C runtime unpacks a block of them at a time, where that saves flash.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.lint.form_costs import FormCosts, form_costs, other_forms, stripped_bytes, stripped_like
from deploy.lint.stored_form import FewValues, with_lookup_tables
from deploy.units import format_bytes
from quantize.bundle import Bundle
from quantize.precision.choice import LUT_BITS

_BY_BLOCKS = "the plain-C runtime unpacks a block of them at a time, with less code and RAM"


def costly_compression(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Nodes with lookup tables, together and each, against the same weights as int8.

    Tables pay where the flash that they save, less the code that decodes them, is more than the RAM
    that decoding takes.
    """
    form = next((one for one in other_forms(bundle, found) if one.kind == "lookup tables"), None)
    if form is None:
        return
    costs, names = form_costs(bundle, found, form.int8), form.nodes
    if costs is None:
        return
    if costs.rom_bytes + max(0, costs.ram_bytes) > 0:
        in_flash = costs.rom_bytes > 0
        yield Finding(
            "costly-compression",
            names,
            f"the lookup tables of {listed(names)} {_saved(costs)}, the code that decodes them "
            f"takes {format_bytes(costs.code_bytes)}, and {_decoding(costs)}",
            f'store {"it" if len(names) == 1 else "them"} as "int8" for this runtime; {_BY_BLOCKS}',
            "ROM" if in_flash else "RAM",
            costs.rom_bytes if in_flash else costs.ram_bytes,
            found.board.name,
        )
        return
    for name, data in form.int8.items():
        alone = form_costs(bundle, found, {name: data})
        if alone is not None and alone.stored_bytes > 0:
            yield Finding(
                "costly-compression",
                (name,),
                f"{name} is {format_bytes(alone.stored_bytes)} larger with lookup tables than "
                f"without, and {_decoding(alone)}",
                f'store {name} as "int8"',
                "ROM",
                alone.stored_bytes,
            )


def possible_compression(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Nodes whose int8 weights have at most 16 values per channel, if tables pay on the board."""
    gaining: dict[str, FewValues] = {}
    for name in found.nodes:
        data = bundle.nodes[name].data
        form = _with_lookup_tables(data)
        if form is not None and stripped_bytes(form.data) < stripped_bytes(data):
            gaining[name] = form
    if not gaining:
        return
    names = tuple(gaining)
    costs = form_costs(bundle, found, {name: form.data for name, form in gaining.items()})
    if costs is None or costs.rom_bytes <= max(0, -costs.ram_bytes):
        return
    most = max(form.values for form in gaining.values())
    precision = min(
        (name for name, bits in LUT_BITS.items() if 2**bits >= most), key=LUT_BITS.__getitem__
    )
    code = f", less {format_bytes(-costs.code_bytes)} of code" if costs.code_bytes else ""
    others = any(form.most_beside > 2 ** LUT_BITS[precision] for form in gaining.values())
    yield Finding(
        "possible-compression",
        names,
        f"weights of {listed(names)} have at most {most} values per channel and are stored as "
        f"int8: lookup tables save {format_bytes(costs.stored_bytes)}{code}, and "
        f"{_decoding(FormCosts(0, 0, -costs.ram_bytes))}",
        f'quantize with precision "{precision}": '
        + (
            "these weights keep their values, the others of the node get fewer"
            if others
            else "every output stays the same"
        )
        + "; the plain-C runtime packs such weights by itself",
        "ROM",
        costs.rom_bytes,
        found.board.name,
    )


def _saved(costs: FormCosts) -> str:
    word = "save" if costs.stored_bytes <= 0 else "take"
    more = "" if costs.stored_bytes <= 0 else " more"
    return f"{word} {format_bytes(abs(costs.stored_bytes))}{more}"


def _decoding(costs: FormCosts) -> str:
    if costs.ram_bytes <= 0:
        return "decoding takes no more RAM"
    return f"decoding takes {format_bytes(costs.ram_bytes)} of RAM"


@lru_cache(maxsize=256)
def _with_lookup_tables(data: bytes) -> FewValues | None:
    form = with_lookup_tables(data)
    if form is None:
        return None
    return FewValues(stripped_like(form.data, data), form.values, form.most_beside)
