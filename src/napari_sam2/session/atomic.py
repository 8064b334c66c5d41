"""How a file or folder appears under its name: whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """
    Yield a new name beside `path` to write a file or folder to; it becomes `path` at the end.

    If the block raises, what was written is deleted and `path` stays what it was. The folder of
    `path` is made if it is missing. A folder takes the place of a folder, a file never does.

    Raises
    ------
    IsADirectoryError
        A file was written and `path` is a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    aside = folder / "replaced"
    try:
        part = folder / path.name
        yield part
        if part.is_file():
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        _put(part, path, aside=aside)
    finally:
        # what stepped aside and could not be put back is all that is left of it
        if path.exists() or not aside.exists():
            shutil.rmtree(folder, ignore_errors=True)


def _put(part: Path, path: Path, *, aside: Path) -> None:
    """Rename `part` to `path`; a folder that is there cannot be renamed over and steps aside."""
    is_folder = path.is_dir() and not path.is_symlink()
    if is_folder and not part.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder, name a file in it", str(path))
    if is_folder:
        os.replace(path, aside)
    try:
        os.replace(part, path)
    except OSError:
        if is_folder:
            os.replace(aside, path)
        raise
