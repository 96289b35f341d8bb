"""Renderings of a budget report, one file each: terminal, JSON, Markdown, JUnit XML, SARIF, HTML.

Each has `render(report)` and returns text; none decides anything.

Example:
    from deploy.report import terminal
    print(terminal.render(report, width=100))
"""

__all__ = ["as_html", "as_json", "as_junit", "as_markdown", "as_sarif", "phrases", "terminal"]
