"""The HTML rendering of a budget report: markup, charts as SVG, the page's style and script.

`page.py` puts the page together; the door is `deploy/report/as_html.py`. No other rendering loads
this room.
"""
