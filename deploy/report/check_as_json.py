"""One check of a report as JSON values; `as_json.py` puts the report together.

`rom.used_bytes`, `ram.used_bytes`, `time.used_us`, `nodes` and `kernel_bytes_by_operator` are also
the keys of a baseline file, so that a whole report may serve as one.
"""

from __future__ import annotations

from typing import Any

from deploy.board import Board
from deploy.footprint import Footprint
from deploy.report import growth, phrases
from deploy.usage import Timing, Usage
from deploy.verdict import Verdict


def check_as_dict(verdict: Verdict) -> dict[str, Any]:
    """A check, its figures and what there is to say of them."""
    one, found = verdict.check, verdict.footprint
    return {
        "name": one.name,
        "bundle": verdict.bundle.name,
        "fits": verdict.fits,
        "verdict": phrases.verdict_word(verdict),
        "is_close": verdict.is_close,
        "is_within_limits": verdict.is_within_limits,
        "grew_too_much": verdict.grew_too_much,
        "margin": one.margin.text,
        "image": None if one.image is None else one.image.as_posix(),
        "measured": None if one.measured is None else one.measured.as_posix(),
        "board": _board(one.board),
        "kernels": found.kernels,
        "runtime_basis": found.runtime.basis,
        "rom": _usage(verdict.rom),
        "ram": _usage(verdict.ram),
        "time": None if verdict.time is None else _time(verdict.time),
        "all_tasks_us": None if found.latency is None else found.latency.microseconds,
        "arena": {
            "allocate": found.allocate,
            "all_paths_bytes": found.all_paths_arena_bytes,
            "one_path_bytes": found.one_path_arena_bytes,
        },
        "kernel_bytes_by_operator": dict(found.runtime.by_operator),
        "nodes": _nodes(found),
        "tasks": _tasks(found),
        "model_rom_bytes": found.model_rom_bytes,
        "stripped_bytes": sum(node.stripped_bytes for node in found.nodes.values()),
        "separate_model_bytes": found.separate_model_bytes,
        "saved_bytes": found.saved_bytes,
        "has_baseline": verdict.baseline is not None,
        "changes": [
            {"kind": kind, "name": name, "growth_bytes": size}
            for kind, name, size in growth.growth_causes(verdict)
        ],
        "messages": list(verdict.messages),
        "next_steps": [
            {
                "memory": step.memory,
                "text": step.text,
                "saved_bytes": step.saved_bytes,
                "is_enough": step.is_enough,
            }
            for step in verdict.next_steps
        ],
        "notes": list(verdict.notes),
    }


def _board(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "title": board.title,
        "mcu": board.mcu,
        "core": board.core,
        "clock_hz": board.clock_hz,
        "rom_slot_bytes": board.rom_slot_bytes,
        "ram_bytes": board.ram_bytes,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "fits": usage.fits,
        "is_close": usage.is_close,
        "used_bytes": usage.used_bytes,
        "limit_bytes": usage.limit_bytes,
        "is_own_limit": usage.is_own_limit,
        "margin_bytes": usage.margin_bytes,
        "over_bytes": usage.over_bytes,
        "free_bytes": usage.free_bytes,
        "percent": round(usage.percent, 2),
        "error_percent": list(usage.error_percent),
        "highest_bytes": usage.highest_bytes,
        "baseline_bytes": usage.baseline_bytes,
        "growth_bytes": usage.growth_bytes,
        "allowed_growth_bytes": usage.allowed_growth_bytes,
        "grew_too_much": usage.grew_too_much,
        "parts": [
            {"name": part.name, "group": part.group, "bytes": part.size_bytes}
            for part in usage.parts
        ],
    }


def _time(timing: Timing) -> dict[str, Any]:
    latency = timing.latency
    return {
        "task": timing.task,
        "fits": timing.fits,
        "is_close": timing.is_close,
        "used_us": timing.used_us,
        "limit_us": timing.limit_us,
        "margin_us": timing.margin_us,
        "over_us": timing.over_us,
        "percent": None if timing.limit_us is None else round(timing.percent, 2),
        "error_percent": list(latency.error_percent),
        "highest_us": timing.highest_us,
        "basis": latency.basis,
        "by_node": dict(latency.by_node),
        "by_operator": dict(latency.by_operator),
        "instructions": latency.instructions,
        "second_us": latency.second_microseconds,
        "uncounted_percent": round(latency.uncounted_percent, 1),
        "baseline_us": timing.baseline_us,
        "growth_us": timing.growth_us,
        "allowed_growth_us": timing.allowed_growth_us,
        "grew_too_much": timing.grew_too_much,
    }


def _nodes(found: Footprint) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "rom_bytes": node.rom_bytes,
            "share_percent": round(100 * node.rom_bytes / found.model_rom_bytes, 2),
            "share_bytes_by_task": dict(node.share_bytes),
            "arena": {
                "head_bytes": node.arena.head_bytes,
                "tail_bytes": node.arena.tail_bytes,
                "planning_bytes": node.arena.planning_bytes,
                "minimum_bytes": node.arena.minimum_bytes,
                "error_percent": list(node.arena.error_percent),
                "basis": node.arena.basis,
            },
        }
        for node in found.nodes.values()
    ]


def _tasks(found: Footprint) -> list[dict[str, Any]]:
    return [
        {
            "name": task.name,
            "path": list(task.path),
            "model_rom_bytes": task.model_rom_bytes,
            "share_bytes": task.share_bytes,
            "single_model_bytes": task.single_model_bytes,
            "arena_bytes": task.arena_bytes,
            "latency_us": None if task.latency is None else task.latency.microseconds,
            "instructions": task.instructions,
        }
        for task in found.tasks.values()
    ]
