"""The schema's tables against the installed generated code, recorded by calling it."""

import inspect
from functools import cache

from ai_edge_litert import schema_py_generated as generated

from quantize.wire.schema import BUILTIN_OPERATORS, TABLES, TENSOR_TYPES, UNIONS

KINDS = {
    "Bool": "bool",
    "Int8": "i8",
    "Uint8": "u8",
    "Uint16": "u16",
    "Int32": "i32",
    "Uint32": "u32",
    "Int64": "i64",
    "Uint64": "u64",
    "Float32": "f32",
}
# The generated code has no functions for fields that the schema calls deprecated.
DEPRECATED = {
    ("ResizeBilinearOptions", "newHeight"),
    ("ResizeBilinearOptions", "newWidth"),
    ("SignatureDef", "deprecatedTag"),
}


class Recorder:
    """Stands in for a Builder or a Table and keeps the calls."""

    Pos = 0
    Bytes = bytearray(64)

    def __init__(self):
        self.calls = []

    def Offset(self, offset):  # noqa: N802
        return offset

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            return 8

        return call


def recorded_kind(table, field):
    """The kind of a field that is an offset: what its reader asks the table for."""
    recorder = Recorder()
    reader = object.__new__(table)
    reader._tab = recorder
    if hasattr(table, field + "AsNumpy"):
        getattr(reader, field + "AsNumpy")()
        flags = next(a[0] for name, a in recorder.calls if name == "GetVectorAsNumpy")
        return f"[{KINDS[flags.__name__.removesuffix('Flags')]}]"
    read = getattr(reader, field)
    is_vector = bool(inspect.signature(read).parameters)
    result = read(0) if is_vector else read()
    called = [name for name, _ in recorder.calls]
    kind = "string" if "String" in called else type(result).__name__
    kind = "union" if "Union" in called else kind
    return f"[{kind}]" if is_vector else kind


@cache
def recorded_tables():
    tables = {}
    for name, table in vars(generated).items():
        if not (inspect.isclass(table) and hasattr(table, "Init")):
            continue
        for function_name, add in vars(generated).items():
            field = function_name.removeprefix(name + "Add")
            if not function_name.startswith(name + "Add") or not hasattr(table, field):
                continue
            recorder = Recorder()
            add(recorder, 0)
            ((call, (slot, _, default)),) = recorder.calls
            if call == "PrependUOffsetTRelativeSlot":
                kind = recorded_kind(table, field)
            else:
                kind = KINDS[call.removeprefix("Prepend").removesuffix("Slot")]
            spelt = list(inspect.signature(add).parameters)[1]
            tables.setdefault(name, {})[slot] = (spelt, kind, int(default))
    return tables


def test_every_table_is_the_installed_one():
    recorded = recorded_tables()
    assert len(recorded) > 90
    for name, slots in recorded.items():
        for slot, (spelt, kind, default) in slots.items():
            field = TABLES[name][slot]
            assert (field.name, field.default) == (spelt, default), (name, slot)
            assert field.kind == kind or (kind == "union" and field.kind[0] == "<"), (name, slot)


def test_no_table_or_field_is_invented():
    recorded = recorded_tables()
    for name, fields in TABLES.items():
        for slot, field in enumerate(fields):
            assert slot in recorded[name] or (name, field.name) in DEPRECATED


def test_only_buffers_ask_for_more_alignment():
    wide = {(name, f.name): f.alignment for name, fields in TABLES.items() for f in fields}
    assert {key: value for key, value in wide.items() if value != 1} == {("Buffer", "data"): 16}


def enumeration(name):
    members = {k: v for k, v in vars(getattr(generated, name)).items() if k[0] != "_"}
    return tuple(sorted(members, key=members.get)), tuple(sorted(members.values()))


def test_enumerations_are_the_installed_ones():
    for name, listed in {
        **UNIONS,
        "BuiltinOperator": BUILTIN_OPERATORS,
        "TensorType": TENSOR_TYPES,
    }.items():
        names, numbers = enumeration(name)
        assert listed == names
        assert numbers == tuple(range(len(names)))


def test_a_union_follows_its_type():
    for fields in TABLES.values():
        for before, field in zip((None, *fields), fields, strict=False):
            if field.kind[0] == "<":
                assert (before.name, before.kind) == (field.name + "Type", "u8")
