"""Imports run one way, keras_tree <- quantize <- deploy; the gate loads no TensorFlow."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("keras_tree", "quantize", "deploy")
# What a package may import of its neighbours when it is loaded, and what only inside a function.
AT_IMPORT = {"keras_tree": set(), "quantize": set(), "deploy": {"quantize"}}
IN_FUNCTIONS = {
    "keras_tree": set(),
    "quantize": {"keras_tree"},
    "deploy": {"quantize", "keras_tree"},
}
HEAVY = {
    "tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "sklearn", "PIL",
    "tflite_micro",
}  # fmt: skip
# Rooms that define layers, and so load Keras with themselves: entered from inside functions only.
HEAVY_ROOMS = ("quantize.aware.keras3", "quantize.aware.tfmot")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_heavy_room(module: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in HEAVY_ROOMS)


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            pytest.fail(f"relative import: {ast.unparse(node)}")
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in MODULES else str(node.module)


def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        for name in imported(child):
            yield name, inside
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, inside or function)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether the import stands inside a function) for every import that runs."""
    return list(walk(ast.parse(path.read_text()), False))


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    package = module.split(".")[0]
    for name, inside in imports(MODULES[module]):
        other = name.split(".")[0]
        if other in PACKAGES and other != package:
            late = inside or is_heavy_room(module)
            allowed = IN_FUNCTIONS[package] if late else AT_IMPORT[package]
            assert other in allowed, f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("keras_tree")])
def test_heavy_imports_stand_inside_functions(module: str) -> None:
    if is_heavy_room(module):
        return
    for name, inside in imports(MODULES[module]):
        heavy = name.split(".")[0] in HEAVY or is_heavy_room(name)
        assert inside or not heavy, f"{module} imports {name} when loaded"


def test_no_import_cycles() -> None:
    graph = {m: {n for n, _ in imports(p) if n in MODULES and n != m} for m, p in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_export_exists_and_is_sorted(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert exported == sorted(exported)
    for name in exported:
        assert hasattr(importlib.import_module(package), name)


def test_the_gate_loads_no_tensorflow() -> None:
    code = (
        "import sys, deploy, deploy.cli, quantize, quantize.bundle\n"
        "print(sorted({'tensorflow', 'keras', 'tflite_micro'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.strip() == "[]"


def test_never_tf_keras() -> None:
    for name, path in MODULES.items():
        code = ast.unparse(ast.parse(path.read_text()))
        assert "tf.keras" not in code, name
