"""Rules: a softmax or a sigmoid at the end of a classifier, where the logits say the same class.

The code of a kernel goes only when no node uses it any more. So there is one finding for all the
nodes that end in the operator, and none where another node uses it in its middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.lint.kernel_code import freed_bytes
from deploy.lint.node_graph import graph_of
from deploy.units import format_bytes
from quantize.bundle import Bundle


def replaceable_softmax(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Softmax keeps the order of the logits: the largest one names the class."""
    advice = "end at the logits and take the largest: the same class, but no probabilities"
    yield from _replaceable(bundle, found, "SOFTMAX", "replaceable-softmax", advice)


def replaceable_sigmoid(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """A sigmoid of one output is above one half where its logit is above 0."""
    advice = "end at the logit and compare it with 0 instead of one half: no probability then"
    yield from _replaceable(bundle, found, "LOGISTIC", "replaceable-sigmoid", advice)


def replaceable_nodes(bundle: Bundle, found: Footprint, operator: str) -> tuple[str, ...]:
    """Return the nodes that use `operator`, if all of them could end before it; else none.

    Args:
        bundle: The bundle.
        found: Says which of its nodes and tasks count.
        operator: "SOFTMAX" or "LOGISTIC".
    """
    users = tuple(node for node in found.nodes if operator in bundle.nodes[node].operators)
    if all(_only_ends_in(bundle, found, node, operator) for node in users):
        return users
    return ()


def _replaceable(
    bundle: Bundle, found: Footprint, operator: str, rule: str, advice: str
) -> Iterator[Finding]:
    nodes = replaceable_nodes(bundle, found, operator)
    saved = freed_bytes(bundle, found, (operator,)) if nodes else 0
    if saved > 0:
        verb = "ends" if len(nodes) == 1 else "end"
        text = f"{listed(nodes)} {verb} in {operator}, whose own code takes {format_bytes(saved)}"
        yield Finding(rule, nodes, text, advice, "ROM", saved, found.board.name)


def _only_ends_in(bundle: Bundle, found: Footprint, node: str, operator: str) -> bool:
    """Whether the node uses the operator once, last, for the class that its tasks tell."""
    tasks = [task for task in found.tasks.values() if node in task.path]
    if any(node in task.path[:-1] for task in tasks):
        return False
    scores = [bundle.tasks[task.name].score for task in tasks]
    if any(score is not None and score.metric != "accuracy" for score in scores):
        return False
    graph = graph_of(bundle.nodes[node].data)
    users = [one for one in graph.operators if one.name == operator]
    if len(users) != 1 or users[0].outputs != graph.outputs:
        return False
    elements = math.prod(graph.tensors[graph.outputs[0]].shape)
    return elements > 1 if operator == "SOFTMAX" else elements == 1
