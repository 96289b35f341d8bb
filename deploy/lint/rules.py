"""The rules of the lint, by name and in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploy.footprint import Footprint
from deploy.lint.finding import Finding
from quantize.bundle import Bundle

RULES: dict[str, Callable[[Bundle, Footprint], Iterator[Finding]]] = {}


def lint(bundle: Bundle, found: Footprint) -> tuple[Finding, ...]:
    """Hold a bundle against every rule.

    Args:
        bundle: The bundle.
        found: What it costs on one board; what a finding saves is said for that board.

    Returns:
        The findings, those that save the most first.
    """
    findings = [finding for rule in RULES.values() for finding in rule(bundle, found)]
    return tuple(sorted(findings, key=lambda finding: -finding.saved_bytes))
