"""Calls the kernels' C functions through ctypes; run as a program, it answers calls on its pipes.

The second way is for the build with sanitizers: AddressSanitizer must be loaded before Python, so
that such calls run in a process of their own. Nothing but the standard library is needed, because
every allocation there is watched.

A call is `(function, arguments)`, and an argument one of

    ("struct", name, {field: int, list of ints, None, or ("array", ctype's name, list of ints)})
    ("in", bytes, offset)       a pointer to a copy of the bytes, `offset` into it
    ("out", bytes, offset)      the same; the bytes afterwards are the call's result
    ("int", ctype's name, int)
    ("null",)
    ("same",)                   the "out" argument's pointer once more, for what works in place
"""

import ctypes
import pickle
import re
import sys
from pathlib import Path

_TYPES = {
    "int8_t": ctypes.c_int8,
    "uint8_t": ctypes.c_uint8,
    "int16_t": ctypes.c_int16,
    "uint16_t": ctypes.c_uint16,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
}
_STRUCT = re.compile(r"typedef struct \{(.*?)\} (kt_\w+);", re.DOTALL)
_FIELD = re.compile(r"(?:const )?(\w+) (.+)", re.DOTALL)
_NAME = re.compile(r"(\*?)(\w+)(?:\[(\d+)\])?")


def structures(header: Path) -> dict[str, type[ctypes.Structure]]:
    """The header's structures as ctypes, so that the tests follow it."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    found: dict[str, type[ctypes.Structure]] = {}
    for body, name in _STRUCT.findall(text):
        fields = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            type_name, names = _FIELD.fullmatch(declaration).groups()
            for part in names.split(","):
                star, field, count = _NAME.fullmatch(part.strip()).groups()
                kind = found.get(type_name) or _TYPES[type_name]
                kind = ctypes.POINTER(kind) if star else kind
                fields.append((field, kind * int(count) if count else kind))
        found[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return found


class Library:
    """The compiled kernels."""

    def __init__(self, path: Path, header: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._structures = structures(header)

    def structure(self, name: str, values: dict):
        """A structure of these values; what it does not have, or does not get, is an error."""
        fields = dict(self._structures[name]._fields_)
        if set(fields) != set(values):
            raise ValueError(f"{name} has {sorted(fields)}, received {sorted(values)}")
        made = self._structures[name]()
        kept = []
        for field, value in values.items():
            if isinstance(value, dict):
                inner = self.structure(fields[field]._type_.__name__, value)
                kept.append(inner)
                value = ctypes.pointer(inner)
            elif isinstance(value, tuple):
                _, kind, numbers = value
                array = (_TYPES[kind] * len(numbers))(*numbers)
                kept.append(array)
                value = ctypes.cast(array, fields[field])
            elif isinstance(value, list):
                value = fields[field](*value)
            if value is not None:
                setattr(made, field, value)
                if isinstance(value, int) and getattr(made, field) != value:
                    raise ValueError(f"{name}.{field} cannot hold {value}")
        made.kept = kept
        return made

    def call(self, function: str, arguments: list) -> bytes:
        """Call a function; returns the bytes of its "out" argument."""
        passed, kept = [], []
        output, first = next(_buffer(*rest) for kind, *rest in arguments if kind == "out")
        for kind, *rest in arguments:
            if kind == "struct":
                made = self.structure(*rest)
                kept.append(made)
                passed.append(ctypes.byref(made))
            elif kind == "int":
                passed.append(_TYPES[rest[0]](rest[1]))
            elif kind == "null":
                passed.append(None)
            elif kind in ("out", "same"):
                passed.append(first)
            else:
                buffer, pointer = _buffer(*rest)
                kept.append(buffer)
                passed.append(pointer)
        getattr(self._library, function)(*passed)
        return bytes(output)


def _buffer(content: bytes, offset: int):
    """A copy of the bytes, and a pointer into it."""
    buffer = (ctypes.c_char * len(content)).from_buffer_copy(content)
    return buffer, ctypes.c_void_p(ctypes.addressof(buffer) + offset)


def _serve(library: Library) -> None:
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(library.call(function, arguments), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(Library(Path(sys.argv[1]), Path(sys.argv[2])))
