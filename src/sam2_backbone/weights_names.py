"""Which network a weights file is for, told by the names in it: without torch, at once."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

import safetensors

from sam2_backbone.errors import CheckpointError
from sam2_backbone.variants import VARIANTS, EmbeddedWeights

_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
_SIZES = {12: "tiny", 16: "small", 24: "base_plus", 48: "large"}
# a memory of frames without the object, by Meta's name and by ours
_ONLY_IN_21 = ("no_obj_embed_spatial", "no_object_memory")


def why_unsuitable(path: str | Path, variant: str) -> str:
    """Say why a file cannot hold the weights of a network; empty where it may.

    What the tensors hold is seen when they are loaded only.
    """
    path = Path(path)
    if not path.is_file():
        return f"There is no weights file {path}."
    try:
        found = _embedded_like(path) if path.suffix == ".safetensors" else None
        found = found or published_variant(_names(path))
    except CheckpointError as error:
        return str(error)
    if found == variant:
        return ""
    return f"{path.name} holds weights of {found or 'another network'}, not of {variant}."


def published_variant(names: Iterable[str]) -> str | None:
    """Recognise a published network by its tensors' names, Meta's or ours; None if it is none."""
    known = set(names)
    blocks = {found[1] for name in known if (found := _BLOCK.match(name))}
    size = _SIZES.get(len(blocks))
    version = "sam2.1" if any(name in known for name in _ONLY_IN_21) else "sam2"
    return None if size is None else f"{version}_hiera_{size}"


def _names(path: Path) -> set[str]:
    if path.suffix == ".safetensors":
        return set(_shapes(path))
    try:
        with zipfile.ZipFile(path) as file:
            (table,) = (name for name in file.namelist() if name.endswith("data.pkl"))
            opcodes = pickletools.genops(file.read(table))  # reads, and runs nothing
            return {argument for _, argument, _ in opcodes if isinstance(argument, str)}
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is no checkpoint of SAM 2 that can be read.") from error


def _embedded_like(path: Path) -> str | None:
    """Name the embedded network whose tensors a file has, by name and shape."""
    shapes = _shapes(path)
    for name, variant in VARIANTS.items():
        if isinstance(variant.weights, EmbeddedWeights):
            with as_file(files("sam2_backbone.weights") / variant.weights.file_name) as own:
                if _shapes(own) == shapes:
                    return name
    return None


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            names = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file ({error}).") from error
