"""Which folders were written here, so that they may be replaced; all others are somebody's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

#: Attribute of every zarr that is written here, by which it is known again.
WRITTEN_BY = {"written_by": "napari-sam2"}

#: In a folder of files: says the same, and what kind of files belong to it.
_MARK = ".napari-sam2.json"
# what the folders of each kind hold; anything else in them is somebody's
_FILES = {
    "ctc": re.compile(r"mask\d+\.tif|res_track\.txt"),
    "sav": re.compile(
        r"Annotations_6fps(/[^/]+(/\d+(/\d+\.png)?)?)?|JPEGImages_24fps(/[^/]+(/\d+\.jpg)?)?"
    ),
}


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise ``FileExistsError`` if something is at `path` that must not be replaced."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: choose another name or allow overwriting.")
    if path.is_dir() and not is_own(path):
        raise FileExistsError(
            f"{path} is a folder that does not hold labels of napari-sam2, so it is not replaced: "
            "choose another name, or delete it first."
        )


def mark(folder: Path, kind: str) -> None:
    """Say in a new folder of files that it was written here."""
    (folder / _MARK).write_text(json.dumps({**WRITTEN_BY, "kind": kind}), encoding="utf-8")


def is_own(folder: Path) -> bool:
    """Whether a folder was written here, and nothing else was put into it."""
    zarrs = (_read(folder / name) for name in ("zarr.json", ".zattrs"))
    if any(_says_so(tree.get("attributes", tree)) for tree in zarrs):
        return True
    tree = _read(folder / _MARK)
    belongs = _FILES.get(str(tree.get("kind")))
    if belongs is None or not _says_so(tree):
        return False
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return all(name == _MARK or belongs.fullmatch(name) for name in names)


def _says_so(attributes: Any) -> bool:
    return isinstance(attributes, dict) and WRITTEN_BY.items() <= attributes.items()


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
