"""The rules of the lint, by name and in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploy.footprint import Footprint
from deploy.lint.compression import costly_compression, possible_compression
from deploy.lint.costly_precision import costly_precision
from deploy.lint.dead_channels import dead_channels
from deploy.lint.duplicate_buffers import duplicate_buffers
from deploy.lint.finding import Finding
from deploy.lint.light_trunk import light_trunk
from deploy.lint.replaceable_activation import replaceable_sigmoid, replaceable_softmax
from deploy.lint.single_user_operator import single_user_operator
from deploy.lint.strip_savings import strip_savings
from deploy.lint.wide_seam import wide_seam
from quantize.bundle import Bundle

RULES: dict[str, Callable[[Bundle, Footprint], Iterator[Finding]]] = {
    "single-user-operator": single_user_operator,
    "replaceable-softmax": replaceable_softmax,
    "replaceable-sigmoid": replaceable_sigmoid,
    "dead-channels": dead_channels,
    "duplicate-buffers": duplicate_buffers,
    "light-trunk": light_trunk,
    "wide-seam": wide_seam,
    "strip-savings": strip_savings,
    "costly-compression": costly_compression,
    "possible-compression": possible_compression,
    "costly-precision": costly_precision,
}
"""By name: what yields the findings of one rule; `docs/lint.md` explains each."""


def lint(bundle: Bundle, found: Footprint) -> tuple[Finding, ...]:
    """Hold a bundle against every rule.

    Args:
        bundle: The bundle.
        found: What it costs on one board; what a finding saves is said for that board. Only the
            nodes that its tasks use are looked at.

    Returns:
        The findings, those that save the most first, then in the order of the rules.
    """
    findings = [finding for rule in RULES.values() for finding in rule(bundle, found)]
    return tuple(sorted(findings, key=lambda finding: -finding.saved_bytes))
