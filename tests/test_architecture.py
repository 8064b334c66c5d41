"""The house rules: who may import what, what a bare import costs, and the tools' verdicts."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
FILES = sorted(path for path in SOURCE.rglob("*.py"))

MAX_FILE = 500  # lines; the house aims at 400
MAX_FUNCTION = 100  # lines; the house aims at 60
VAGUE_NAMES = {
    "manager", "handler", "helper", "helpers", "util", "utils", "wrapper", "pipeline", "process",
    "seg", "lbl",
}  # fmt: skip
QT = ("qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "superqt", "magicgui")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_passes(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"\n{done.stdout}\n{done.stderr}"


# Tools ------------------------------------------------------------------------------------------


def test_ruff_check() -> None:
    assert_passes(run("-m", "ruff", "check"))


def test_ruff_format() -> None:
    assert_passes(run("-m", "ruff", "format", "--check"))


def test_mypy_strict() -> None:
    assert_passes(run("-m", "mypy"))


def test_import_contracts() -> None:
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    assert_passes(run("-c", code))


# What a bare import costs -----------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """Return the top-level packages in memory after a statement in a fresh interpreter."""
    done = run("-c", f"{statement}; import sys; print(*sys.modules)")
    assert_passes(done)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_bare_import_is_light() -> None:
    heavy = {"torch", "torchvision", "timm", "napari", "skimage", "vispy", *QT}
    assert not heavy & loaded_by("import napari_sam2")
    assert not heavy & loaded_by("import sam2_backbone")


def test_bare_import_is_fast() -> None:
    code = "from time import process_time as t; a = t(); import napari_sam2; print(t() - a)"
    best = min(float(run("-c", code).stdout) for _ in range(3))
    assert best < 0.3  # about 0.1 s on a free core


def modules_of(folder: str) -> list[str]:
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((SOURCE / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("sam2_backbone/data_engine", {"torch", "timm", "skimage"}),
        ("napari_sam2/session", {"torch", "timm", "napari", "vispy", *QT}),
        ("napari_sam2/layers", {"torch", "timm"}),
        ("napari_sam2/widgets", {"torch", "timm"}),
    ],
)
def test_torch_waits_for_a_model(folder: str, forbidden: set[str]) -> None:
    """Neither opening a session nor a widget may import torch: that takes seconds."""
    assert not forbidden & loaded_by(f"import {', '.join(modules_of(folder))}")


def test_scripts_and_command_line_need_no_napari() -> None:
    forbidden = {"torch", "timm", "napari", "vispy", *QT}
    assert not forbidden & loaded_by("import napari_sam2.api, napari_sam2.cli")


# What import-linter cannot see ------------------------------------------------------------------


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def distributions(*extras: str) -> set[str]:
    """Return what the project requires without an extra, or what the extras add."""
    lines = requires("napari-sam2") or ()
    if extras:
        named = {f"extra == '{extra}'" for extra in extras}
        lines = [line for line in lines if line.split(";")[-1].strip().replace('"', "'") in named]
    else:
        lines = [line for line in lines if "extra ==" not in line]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in lines}


def excused(tree: ast.Module) -> set[str]:
    """Return the packages whose absence is caught where they are imported."""
    tries = [n for n in ast.walk(tree) if isinstance(n, ast.Try)]
    return {
        name.partition(".")[0]
        for block in tries
        if any("ImportError" in ast.unparse(h.type) for h in block.handlers if h.type)
        for statement in block.body
        for name in imports(ast.Module([statement], []))
    }


def test_every_import_is_a_declared_dependency() -> None:
    declared, optional = distributions(), distributions("train", "video")
    sources = packages_distributions()
    known = {*sys.stdlib_module_names, "sam2_backbone", "napari_sam2"}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for package in {name.partition(".")[0] for name in imports(tree)} - known:
            found = {name.lower() for name in sources.get(package, ())}
            allowed = declared | optional if package in excused(tree) else declared
            assert found & allowed, f"{path.name} imports {package}"


def parsed() -> Iterator[tuple[str, ast.Module]]:
    """Yield every source file's path below src and its syntax tree."""
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path.relative_to(SOURCE).as_posix(), tree


def test_no_private_napari() -> None:
    private = re.compile(r"napari\.(.*\.)?_")
    assert not [
        (at, name) for at, tree in parsed() for name in imports(tree) if private.match(name)
    ]


def test_layers_do_not_import_napari_qt() -> None:
    qt = re.compile(r"napari\.(_?qt|_vispy)\b")
    assert not [
        (at, name)
        for at, tree in parsed()
        if "/layers/" in at
        for name in imports(tree)
        if qt.match(name)
    ]


def test_first_line_names_the_room() -> None:
    """A file begins with a docstring whose first line is one sentence on what belongs there."""
    assert not [
        at
        for at, tree in parsed()
        if not (ast.get_docstring(tree) or "").partition("\n")[0].endswith(".")
    ]


def test_sizes() -> None:
    too_long = []
    for at, tree in parsed():
        lines = len((SOURCE / at).read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE:
            too_long.append(f"{at}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    too_long.append(f"{at}: {node.name} has {lines} lines")
    assert not too_long


def test_names_say_something() -> None:
    vague = []
    for at, tree in parsed():
        names = [Path(at).stem] + [
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for name in names:
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
            if words & VAGUE_NAMES:
                vague.append(f"{at}: {name}")
    assert not vague


def test_own_errors_are_not_runtime_errors() -> None:
    """A napari worker swallows a RuntimeError (superqt takes it for a deleted Qt object)."""
    assert not [
        f"{at}: {node.name}"
        for at, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "RuntimeError" for base in node.bases)
    ]
