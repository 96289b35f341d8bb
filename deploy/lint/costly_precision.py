"""Rule: int4 weights or int16 activations that take more flash on the board than int8."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.lint.form_costs import FormCosts, form_costs, other_forms
from deploy.units import format_bytes
from quantize.bundle import Bundle

_ADVICE = {
    "int4 weights": 'quantize {} in "int8", which is also the more accurate',
    "int16 activations": "keep them where int8 is not accurate enough for {}, and there only",
}


def costly_precision(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Nodes of each form, all at once, against the same nodes in int8."""
    for form in other_forms(bundle, found):
        if form.kind not in _ADVICE:
            continue
        costs = form_costs(bundle, found, form.int8)
        if costs is not None and costs.rom_bytes > 0:
            names = listed(form.nodes)
            yield Finding(
                "costly-precision",
                form.nodes,
                f"the {form.kind} of {names} take {_told(costs)} than int8 would",
                _ADVICE[form.kind].format(names),
                "ROM",
                costs.rom_bytes,
                found.board.name,
            )


def _told(costs: FormCosts) -> str:
    """Flash with its two parts, and RAM."""
    parts = [
        f"{format_bytes(abs(size))} {'more' if size > 0 else 'less'} of {name}"
        for size, name in (
            (costs.stored_bytes, "flatbuffers"),
            (costs.code_bytes, "code"),
            (costs.ram_bytes, "RAM"),
        )
        if size
    ]
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
