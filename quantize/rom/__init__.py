"""Precisions of the nodes under a ROM budget: what each costs, and which combination loses least.

Belongs here: the search and what it measures. Does not belong here: what a precision does to a
flatbuffer (`quantize/precision`), or what a board's runtime takes (`deploy` gives that as a
function of a bundle).
"""
