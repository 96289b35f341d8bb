"""Reports that pages are made of: on real boards, of public models, and with any names."""

import itertools
from dataclasses import replace
from pathlib import Path

from deploy.board import load_board
from deploy.budget import check
from deploy.verdict import BudgetReport, Check
from quantize.bundle import Bundle, BundleTask, InputNormalization, Node
from quantize.flatbuffer import read_graph
from quantize.tensor_spec import TensorSpec

MODELS = (
    "mlperftiny__kws_ref_model",
    "mlperftiny__ad01_int8",
    "mlperftiny__pretrainedResnet_quant",
    "tflm__micro_speech_quantized",
)


def renamed(report: BudgetReport, name: str) -> BudgetReport:
    """The report with everything that a user names called `name` and a number."""
    numbers = itertools.count(1)
    names: dict[str, str] = {}

    def new(old: str) -> str:
        return names.setdefault(old, f"{name}{next(numbers)}")

    def keyed(values, **changes):
        return {new(key): change(one, **changes) for key, one in values.items()}

    def change(one):
        if hasattr(one, "path"):
            one = replace(one, path=tuple(map(new, one.path)))
        if hasattr(one, "labels"):
            one = replace(one, labels=tuple(map(new, one.labels)))
        if hasattr(one, "share_bytes") and isinstance(one.share_bytes, dict):
            one = replace(one, share_bytes={new(key): v for key, v in one.share_bytes.items()})
        return replace(one, name=new(one.name))

    def all_of(verdict):
        bundle = verdict.bundle
        found = verdict.footprint
        board = replace(verdict.check.board, name=new("board"), title=new("title"))
        tasks = verdict.check.tasks
        parts = tuple(
            replace(part, name=new(part.name)) if part.group in ("nodes", "image") else part
            for part in verdict.rom.parts
        )
        return replace(
            verdict,
            check=replace(
                verdict.check,
                name=new(verdict.check.name),
                board=board,
                tasks=None if tasks is None else tuple(map(new, tasks)),
            ),
            bundle=replace(
                bundle,
                name=new(bundle.name),
                nodes=keyed(bundle.nodes),
                tasks=keyed(bundle.tasks),
            ),
            footprint=replace(
                found, board=board, nodes=keyed(found.nodes), tasks=keyed(found.tasks)
            ),
            rom=replace(verdict.rom, parts=parts),
            notes=(*verdict.notes, new("note")),
        )

    verdicts = tuple(map(all_of, report.verdicts))
    findings = {
        new(key): tuple(
            replace(one, text=new(one.text), where=tuple(map(new, one.where))) for one in some
        )
        for key, some in report.findings.items()
    }
    return BudgetReport(verdicts, findings)


def public_bundle(shared: Path) -> Bundle:
    """Public models as the nodes of one bundle, a task each."""
    nodes, tasks = {}, {}
    spec = TensorSpec((1, 10), "int8", 1 / 256, -128)
    for name in MODELS:
        data = (shared / "models" / f"{name}.tflite").read_bytes()
        operators = tuple(sorted(read_graph(data).operator_names))
        nodes[name] = Node(name, data, len(data), 1, 1, spec, spec, operators)
        tasks[name] = BundleTask(name, (name,), (), [], [])
    return Bundle("public", nodes, (), tasks, InputNormalization(), {})


def on_boards(bundle: Bundle, **settings) -> BudgetReport:
    names = ("nano33ble", "bluepill", "esp32-c3", "nucleo-h743zi")
    boards = {name: load_board(name) for name in names}
    return check(bundle, [Check(name, board, **settings) for name, board in boards.items()])
