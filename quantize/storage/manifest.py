"""The manifest: a bundle's parts as JSON and back. Every field is explained in docs/bundle.md.

Here stand the fields' names and their order. The layout of the text is in `manifest_json.py`, types
and ranges are in `manifest_record.py`; whether the parts fit together is in `checks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from quantize.interpreter import ArenaRecording
from quantize.storage.folder import StoredFile
from quantize.storage.golden import unpack_golden
from quantize.storage.manifest_json import json_text, parse_json
from quantize.storage.manifest_record import Record
from quantize.storage.parts import (
    FORMAT,
    FORMAT_VERSION,
    BundleError,
    BundleTask,
    InputNormalization,
    Node,
    Score,
    Seam,
)
from quantize.storage.versions import library_version
from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from quantize.bundle import Bundle

ReadFile = Callable[[StoredFile], bytes]


class BundleFields(TypedDict):
    """The arguments of `Bundle`, as a manifest and its files give them."""

    name: str
    nodes: dict[str, Node]
    seams: tuple[Seam, ...]
    tasks: dict[str, BundleTask]
    input_normalization: InputNormalization
    versions: dict[str, str]


def manifest_text(bundle: Bundle, golden_files: dict[str, bytes]) -> str:
    """Return the manifest of a bundle: the same text for the same bundle.

    Args:
        bundle: A bundle whose parts fit together.
        golden_files: Bytes of the golden file, by task.
    """
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": bundle.name,
        "input_normalization": {
            "scale": float(bundle.input_normalization.scale),
            "offset": float(bundle.input_normalization.offset),
        },
        "tasks": {
            name: _task_fields(task, golden_files[name]) for name, task in bundle.tasks.items()
        },
        "nodes": {name: _node_fields(node) for name, node in bundle.nodes.items()},
        "seams": {seam.name: _seam_fields(seam) for seam in bundle.seams},
        "versions": dict(sorted(bundle.versions.items())),
    }
    return json_text(manifest)


def read_manifest(data: bytes, read_file: ReadFile) -> BundleFields:
    """Read a manifest and, through `read_file`, the files that it lists.

    Args:
        data: Bytes of `manifest.json`.
        read_file: Returns the bytes of a listed file, whose length and digest it has compared.

    Raises:
        BundleError: It is no manifest, of a newer version, or a field is missing or wrong.
    """
    manifest = Record(parse_json(data))
    manifest.expect("format", FORMAT)
    _check_version(manifest.integer("format_version", low=1))
    normalization = manifest.record("input_normalization")
    versions = manifest.record("versions")
    return {
        "name": manifest.text("name"),
        "nodes": {
            name: _read_node(name, record, read_file)
            for name, record in manifest.records("nodes").items()
        },
        "seams": tuple(_read_seam(*item) for item in manifest.records("seams").items()),
        "tasks": {
            name: _read_task(name, record, read_file)
            for name, record in manifest.records("tasks").items()
        },
        "input_normalization": InputNormalization(
            normalization.number("scale"), normalization.number("offset")
        ),
        "versions": {name: versions.text(name) for name in versions.names()},
    }


def _node_fields(node: Node) -> dict[str, Any]:
    return {
        **_stored(StoredFile.of_node(node.name, node.data)),
        "unstripped_bytes": int(node.unstripped_bytes),
        "parameters": int(node.parameters),
        "macs": int(node.macs),
        "operators": list(node.operators),
        "input": _spec_fields(node.input),
        "output": _spec_fields(node.output),
        "arena": None if node.arena is None else asdict(node.arena),
        "source_sha256": node.source_sha256,
        "precision": node.precision,
    }


def _read_node(name: str, record: Record, read_file: ReadFile) -> Node:
    return Node(
        name=name,
        data=read_file(_read_stored(record, StoredFile.of_node(name, b""))),
        unstripped_bytes=record.integer("unstripped_bytes"),
        parameters=record.integer("parameters"),
        macs=record.integer("macs"),
        input=_read_spec(record.record("input")),
        output=_read_spec(record.record("output")),
        operators=record.texts("operators"),
        arena=_read_arena(record.record_or_none("arena")),
        source_sha256=record.sha256_or_none("source_sha256"),
        precision=record.text_or("precision", "int8"),  # older bundles have none
    )


def _seam_fields(seam: Seam) -> dict[str, Any]:
    return {
        **_spec_fields(TensorSpec(seam.shape, "int8", seam.scale, seam.zero_point)),
        "producers": list(seam.producers),
        "consumers": list(seam.consumers),
        "contract": seam.contract,
        "contract_sha256": seam.contract_sha256,
    }


def _read_seam(name: str, record: Record) -> Seam:
    spec = _read_spec(record)
    seam = Seam(
        name=name,
        shape=spec.shape,
        scale=spec.scale,
        zero_point=spec.zero_point,
        producers=record.texts("producers"),
        consumers=record.texts("consumers"),
    )
    record.expect("contract", seam.contract)
    record.expect("contract_sha256", seam.contract_sha256)
    return seam


def _task_fields(task: BundleTask, golden_file: bytes) -> dict[str, Any]:
    golden = {
        **_stored(StoredFile.of_golden(task.name, golden_file)),
        "count": len(task.golden_inputs),
        "backend": task.golden_backend,
    }
    return {
        "path": list(task.path),
        "labels": list(task.labels),
        "golden": golden,
        "score": None if task.score is None else _score_fields(task.score),
    }


def _read_task(name: str, record: Record, read_file: ReadFile) -> BundleTask:
    golden = record.record("golden")
    stored = _read_stored(golden, StoredFile.of_golden(name, b""))
    data = read_file(stored)
    try:
        inputs, outputs = unpack_golden(data)
    except BundleError as error:
        raise BundleError(f"{stored.owner}, {stored.path}: {error}") from error
    golden.expect("count", len(inputs))
    return BundleTask(
        name=name,
        path=record.texts("path"),
        labels=record.texts("labels"),
        golden_inputs=inputs,
        golden_outputs=outputs,
        score=_read_score(record.record_or_none("score")),
        golden_backend=golden.text("backend"),
    )


def _score_fields(score: Score) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "float_value": _measure(score.float_value),
        "int8_value": _measure(score.int8_value),
        "samples": int(score.samples),
        "agreement": _measure(score.agreement),
        "sqnr_db": _measure(score.sqnr_db),
        "largest_error": _measure(score.largest_error),
        "weakest_node": score.weakest_node,
        "node_sqnr_db": {name: _measure(value) for name, value in score.node_sqnr_db.items()},
        "backend": score.backend,
    }


def _read_score(record: Record | None) -> Score | None:
    if record is None:
        return None
    by_node = record.record("node_sqnr_db")
    return Score(
        metric=record.text("metric"),
        float_value=record.measure("float_value"),
        int8_value=record.measure("int8_value"),
        samples=record.integer("samples"),
        agreement=record.measure("agreement"),
        sqnr_db=record.measure("sqnr_db"),
        largest_error=record.measure("largest_error"),
        weakest_node=record.text_or_none("weakest_node"),
        node_sqnr_db={name: by_node.measure(name) for name in by_node.names()},
        backend=record.text("backend"),
    )


def _spec_fields(spec: TensorSpec) -> dict[str, Any]:
    # Python writes the shortest decimal that gives the same float64 back, and every float32 is one.
    return {
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }


def _read_spec(record: Record) -> TensorSpec:
    record.expect("dtype", "int8")
    shape, zero_point = record.sizes("shape"), record.integer("zero_point", -128, 127)
    return TensorSpec(shape, "int8", record.scale("scale"), zero_point)


def _read_arena(record: Record | None) -> ArenaRecording | None:
    if record is None:
        return None
    counts = {
        field.name: record.integer(field.name)
        for field in fields(ArenaRecording)
        if field.name != "runtime"
    }
    return ArenaRecording(**counts, runtime=record.text("runtime"))


def _stored(file: StoredFile) -> dict[str, Any]:
    return {"file": file.path, "bytes": file.length_bytes, "sha256": file.sha256}


def _read_stored(record: Record, place: StoredFile) -> StoredFile:
    """Return the file that a record lists; it must stand at `place`, so no path leads elsewhere."""
    record.expect("file", place.path)
    return replace(place, length_bytes=record.integer("bytes"), sha256=record.sha256("sha256"))


def _measure(value: float) -> float | str | None:
    """JSON has no NaN and no infinity: null and a text stand for them."""
    if math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def _check_version(version: int) -> None:
    if version > FORMAT_VERSION:
        raise BundleError(
            f"manifest.json: `format_version` is {version}; keras-tree {library_version()} reads "
            f"versions up to {FORMAT_VERSION}. Upgrade keras-tree, or write the bundle anew with "
            "this version."
        )
