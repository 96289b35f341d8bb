"""What a plan has to spare while a layer runs, for more of its weights to be unpacked at a time.

Belongs here: free bytes by step. Does not belong here: what is made of them (`blocks.py`).
"""

from __future__ import annotations

from deploy.codegen.liveness import Content, Key, Paths, path_contents
from deploy.codegen.plan import ALIGNMENT, Plan

__all__ = ["rooms"]


def rooms(plan: Plan, paths: Paths) -> dict[str, dict[int, int]]:
    """Bytes that the scratch memory of each step may take before the buffer must grow.

    Args:
        plan: A plan of the same steps.
        paths: Node names by task.

    Returns:
        By node and number of the step, for the steps that have scratch memory; where several paths
        run a step, what the fullest leaves.
    """
    found: dict[str, dict[int, int]] = {name: {} for name in plan.nodes}
    for path in paths.values():
        contents = path_contents(path, plan.nodes, plan.kept)
        for own in contents:
            node, number = own.keys[0]
            if number >= 0:
                continue
            others = [one for one in contents if one is not own and _is_held(one, own.first)]
            room = plan.buffer_bytes - sum(_size_bytes(plan, one.keys[0]) for one in others)
            step = -1 - number
            found[node][step] = min(room, found[node].get(step, room)) // ALIGNMENT * ALIGNMENT
    return found


def _is_held(content: Content, moment: int) -> bool:
    return content.first <= moment <= content.last


def _size_bytes(plan: Plan, key: Key) -> int:
    size = plan.nodes[key[0]].values[key[1]].size_bytes
    return -(-size // ALIGNMENT) * ALIGNMENT
