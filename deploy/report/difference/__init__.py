"""Renderings of a difference between two bundles, files or reports: terminal, JSON, Markdown.

Each has `render(difference)` and returns text; what is compared stands in `deploy/comparison`.
"""
