"""Lint: what a bundle pays for without need. One file a rule; each returns findings.

Example:
    >>> from deploy.lint import lint
    >>> [finding.rule for finding in lint(bundle, verdict.footprint)]
    ['single-user-operator', 'replaceable-softmax']
"""

from deploy.lint.finding import Finding
from deploy.lint.rules import RULES, lint

__all__ = ["RULES", "Finding", "lint"]
