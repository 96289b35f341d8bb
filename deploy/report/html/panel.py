"""The charts and tables of one check: ROM, RAM, the arena over each path, time, nodes and tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.report import phrases, precisions
from deploy.report.html.arena_chart import BLOCK_CLASSES, BLOCK_KINDS, arena_caption, arena_chart
from deploy.report.html.arena_picture import ArenaPicture, arena_picture
from deploy.report.html.markup import Markup, joined, tag
from deploy.report.html.rom_chart import legend, strip, treemap
from deploy.report.html.rom_tiles import drawn_tiles, rom_tiles
from deploy.report.html.scatter import points, scatter
from deploy.report.html.tables import folded, scrolled, table
from deploy.report.html.treemap import Tile
from deploy.units import format_bytes, format_microseconds
from deploy.usage import Usage
from deploy.verdict import Verdict

_RAM_COLOURS = 8
_PART_HEAD = ("part", "bytes", "of the limit")


def panel(verdict: Verdict, identity: str) -> Markup:
    """Return everything that is drawn of one check.

    Args:
        verdict: The check.
        identity: Unique on the page; letters, digits and hyphens.
    """
    return joined(
        tag("p", f"{verdict.check.board.title}, {phrases.board_line(verdict)}.", class_="board"),
        _figure("ROM", *_rom(verdict, f"{identity}-rom")),
        _figure("RAM", *_ram(verdict, f"{identity}-ram")),
        _figure("Arena over time", *_arenas(verdict, f"{identity}-arena")),
        _figure("Time", *_time(verdict)) if verdict.time is not None else None,
        _figure("Accuracy against bytes", *_accuracy(verdict, f"{identity}-accuracy")),
        _figure("Nodes and tasks", _nodes(verdict), _tasks(verdict)),
    )


def _figure(heading: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h3", heading), *content, class_="figure")


def _sums(usage: Usage) -> Markup:
    return tag(
        "p",
        tag("strong", phrases.percent(usage)),
        f" {phrases.used_of_limit(usage)}; error {phrases.error_band(usage.error_percent)}.",
    )


def _rom(verdict: Verdict, identity: str) -> Iterator[Markup]:
    rom, tiles = verdict.rom, rom_tiles(verdict)
    used = [tile for tile in tiles if tile.kind != "free"]
    yield _sums(rom)
    parts = [(tile.name, tile.kind, tile.size_bytes) for tile in used]
    yield strip(parts, rom.limit_bytes, f"{identity}-strip")
    yield legend([(tile.name, tile.kind, format_bytes(tile.size_bytes)) for tile in tiles])
    drawn = drawn_tiles(tiles)
    yield tag("p", _treemap_caption(rom, len(drawn) < len(tiles)), class_="caption")
    yield treemap(drawn, f"{identity}-map")
    rows = [row for tile in tiles for row in _tile_rows(tile, (), rom.limit_bytes)]
    yield folded("ROM as a table", table("ROM by node and cause", _PART_HEAD, rows, "lrr"))


def _treemap_caption(rom: Usage, is_free_left_out: bool) -> str:
    told = "Areas below are in proportion to bytes"
    if rom.used_bytes > rom.limit_bytes:
        over = format_bytes(rom.used_bytes - rom.limit_bytes)
        return f"{told}; all of it is in use, {over} more than the limit."
    if is_free_left_out:
        free = format_bytes(rom.limit_bytes - rom.used_bytes)
        return f"{told}, of what is in use; {free} below the limit are free and not drawn again."
    return f"{told}; all of it is the limit."


def _tile_rows(
    tile: Tile, parents: tuple[str, ...], limit_bytes: int
) -> Iterator[tuple[str, str, str]]:
    """A tile and what it is made of, the largest first."""
    names = (*parents, tile.name)
    yield " / ".join(names), f"{tile.size_bytes:,}", f"{100 * tile.size_bytes / limit_bytes:.1f}%"
    for one in sorted(tile.children, key=lambda one: -one.size_bytes):
        yield from _tile_rows(one, names, limit_bytes)


def _ram(verdict: Verdict, identity: str) -> Iterator[Markup]:
    ram = verdict.ram
    parts = [
        (
            part.name,
            "reserve" if part.group == "reserve" else f"ram{index % _RAM_COLOURS}",
            part.size_bytes,
        )
        for index, part in enumerate(ram.parts)
    ]
    entries = [(name, kind, format_bytes(size)) for name, kind, size in parts]
    if ram.limit_bytes > ram.used_bytes:
        entries.append(("free", "free", format_bytes(ram.limit_bytes - ram.used_bytes)))
    yield _sums(ram)
    yield strip(parts, ram.limit_bytes, f"{identity}-strip")
    yield legend(entries)
    rows = [(name, f"{size:,}", f"{100 * size / ram.limit_bytes:.1f}%") for name, _, size in parts]
    yield folded("RAM as a table", table("RAM by cause", _PART_HEAD, rows, "lrr"))


def _arenas(verdict: Verdict, identity: str) -> Iterator[Markup]:
    found = verdict.footprint
    ways = {
        "all": "Every path lies in the arena at once: its nodes use one head in turn, and each "
        "keeps a tail.",
        "one": "Only the path that runs lies in the arena.",
    }
    yield tag("p", f"{ways[found.allocate]} Bytes upwards, steps to the right.", class_="caption")
    pictures = [arena_picture(verdict, task) for task in found.tasks]
    kinds = {block.kind for picture in pictures for block in picture.blocks}
    entries = [
        (text, BLOCK_CLASSES.get(kind, kind), "")
        for kind, text in BLOCK_KINDS.items()
        if kind in kinds
    ]
    yield legend([*entries, ("kept by a node", "tail", ""), ("planning", "planning", "")])
    for index, (task, picture) in enumerate(zip(found.tasks.values(), pictures, strict=True)):
        own = f"{identity}{index}"
        chart = scrolled(arena_chart(picture, own), f"Arena over the path of {task.name}")
        yield tag(
            "section",
            tag("h4", f"{task.name}: {' > '.join(task.path)}"),
            tag("p", arena_caption(picture), class_="caption"),
            chart,
            folded(f"Steps of {task.name} as a table", _steps(picture)),
            class_="path",
        )


def _steps(picture: ArenaPicture) -> Markup:
    rows = [
        (
            str(index),
            column.node,
            column.label,
            f"{column.live_bytes:,}",
            f"{column.top_bytes:,}" + (" (peak)" if index == picture.peak_column else ""),
        )
        for index, column in enumerate(picture.columns)
    ]
    head = ("step", "node", "operator", "bytes in use", "up to")
    return table(f"Arena over the path of {picture.task}", head, rows, "rllrr")


def _time(verdict: Verdict) -> Iterator[Markup]:
    if verdict.time is None:
        return
    latency = verdict.time.latency
    yield tag("p", f"{phrases.time_sum(verdict.time)}. Basis: {latency.basis}.")
    second = phrases.second_opinion(latency)
    if second:
        yield tag("p", f"Second opinion: {second}.")
    for caption, split in (("node", latency.by_node), ("operator", latency.by_operator)):
        rows = [
            (name, format_microseconds(us), _share(us, latency.microseconds))
            for name, us in sorted(split.items(), key=lambda item: -item[1])
        ]
        heading = f"Time of {verdict.time.task} by {caption}"
        yield table(heading, (caption, "time", "share"), rows, "lrr")


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _accuracy(verdict: Verdict, identity: str) -> Iterator[Markup]:
    by_metric = points(verdict)
    told = {point.task for tasks in by_metric.values() for point in tasks}
    if not by_metric:
        text = "No task of this check has a score: quantize with evaluation data to see one here."
        yield tag("p", text, class_="caption")
        return
    text = (
        "Each task twice: a disc at its share of the stored nodes, a square at its whole path; a "
        "cross where the float model is."
    )
    yield tag("p", text, class_="caption")
    for index, (metric, tasks) in enumerate(by_metric.items()):
        direction = "" if metric == "accuracy" else " (lower is better)"
        yield tag("h4", f"{metric}{direction}")
        yield scrolled(scatter(metric, tasks, f"{identity}{index}"), f"{metric} against bytes")
    rest = [name for name in verdict.footprint.tasks if name not in told]
    if rest:
        yield tag("p", f"Without a score: {', '.join(rest)}.", class_="caption")


def _nodes(verdict: Verdict) -> Markup:
    found, form = verdict.footprint, precisions.head(verdict.bundle)
    rows: list[Sequence[str]] = [
        (
            node.name,
            *precisions.cell(verdict.bundle, node.name),
            f"{node.rom_bytes:,}",
            f"{100 * node.rom_bytes / found.model_rom_bytes:.1f}%",
            f"-{node.stripped_bytes:,}" if node.stripped_bytes else "0",
            f"{node.arena.minimum_bytes:,}",
            f"{verdict.bundle.nodes[node.name].macs:,}",
            ", ".join(node.tasks),
        )
        for node in found.nodes.values()
    ]
    head = ("node", *form, "bytes", "share", "stripped", "arena alone", "MACs", "tasks")
    return joined(
        table("Nodes", head, rows, f"l{'l' * len(form)}rrrrrl", class_="broad"),
        tag("p", f"{_sentence(phrases.saving(found))}"),
    )


def _tasks(verdict: Verdict) -> Markup:
    has_time = verdict.footprint.has_times
    rows = []
    for task in verdict.footprint.tasks.values():
        score = verdict.bundle.tasks[task.name].score
        time = [phrases.task_time(task)] if has_time else []
        cells = [*phrases.score_cells(score), phrases.agreement(score)]
        rows.append(
            (
                task.name,
                " > ".join(task.path),
                f"{task.model_rom_bytes:,}",
                f"{task.share_bytes:,}",
                f"{task.arena_bytes:,}",
                *time,
                *map(_finite, cells),
            )
        )
    head = ["task", "path", "bytes", "share", "arena"] + ["time"] * has_time
    head += ["metric", "float", "int8", "agreement"]
    return table("Tasks", head, rows, "llrrr" + "r" * has_time + "lrrr", class_="broad")


def _finite(cell: str) -> str:
    """A figure, or a dash where a score was infinite."""
    return "-" if cell.strip("+-%") in ("inf", "nan") else cell


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
