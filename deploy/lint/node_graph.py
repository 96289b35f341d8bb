"""A node's graph, read once for all the rules that look into it."""

from __future__ import annotations

from functools import lru_cache

from quantize.flatbuffer import Graph, read_graph


@lru_cache(maxsize=256)
def graph_of(data: bytes) -> Graph:
    """Return the graph of a node's flatbuffer, which its footprint has read before."""
    return read_graph(data)
