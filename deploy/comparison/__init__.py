"""Comparing what something costs with what it cost before: baselines, growth, differences.

`baseline.py` holds the values that a check is held against, `baseline_file.py` their file;
`difference.py` compares two bundles, files or reports. How a difference looks is in
`deploy/report/difference`.
"""
