"""A budget report as one HTML page: no request to anywhere, readable without its script.

Charts and markup are in `html/`, which no other rendering loads.
"""

from __future__ import annotations

from deploy.report.html.page import page
from deploy.verdict import BudgetReport


def render(report: BudgetReport) -> str:
    """Render a report as a whole HTML document without a trailing newline."""
    return str(page(report))
