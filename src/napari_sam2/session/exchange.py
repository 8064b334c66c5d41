"""Which formats results are exchanged in, how their files are called, and what may be replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_sam2.session import files
from napari_sam2.session.atomic import written_whole
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.export_coco import write_annotations
from napari_sam2.session.export_ctc import write_tracks
from napari_sam2.session.export_geff import write_graph
from napari_sam2.session.export_sav import write_folders, write_masklets
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.own_folders import check_free
from napari_sam2.session.result_masks import ResultMasks

Write = Callable[[ResultMasks, Path, Calibration], Iterator[int]]


@dataclass(frozen=True)
class ExchangeFormat:
    """
    A format of other programs.

    Attributes
    ----------
    name
        As it is typed on the command line.
    title
        As a person reads it.
    suffix
        Of the file; a folder of any name is written where it is empty.
    ending
        What a proposed name ends with, after that of the image.
    write
        Writes all frames to a new name.
    """

    name: str
    title: str
    suffix: str
    ending: str
    write: Write

    def name_for(self, source: Path | None) -> str:
        """Propose a name for the results on an image."""
        stem = "results" if source is None else source.name.split(".")[0] or source.stem
        return stem + self.ending


FORMATS = {
    row.name: row
    for row in (
        ExchangeFormat("ctc", "Cell Tracking Challenge", "", "_RES", write_tracks),
        ExchangeFormat("geff", "GEFF, a graph of tracks", ".geff", ".geff", write_graph),
        ExchangeFormat("coco", "COCO", ".json", "_coco.json", write_annotations),
        ExchangeFormat("sav", "SA-V masklets", ".json", "_manual.json", write_masklets),
        ExchangeFormat("sav-folders", "SA-V frames and masks", "", "_sav", write_folders),
    )
}


def format_named(name: str) -> ExchangeFormat:
    """Return a format.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    if name not in FORMATS:
        raise ValueError(f"There is no format {name!r}; there are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def check_exchange(
    path: Path, chosen: ExchangeFormat, *, overwrite: bool, image: Path | None = None
) -> None:
    """
    Raise unless results may be written to `path`.

    Raises
    ------
    ValueError
        The suffix is another one.
    FileExistsError
        Something is there and `overwrite` is false, or it is the image, a session, or a folder of
        something else.
    """
    suffix = path.suffix.lower()
    if chosen.suffix and suffix != chosen.suffix:
        raise ValueError(f"{chosen.title}: name a file that ends in {chosen.suffix}.")
    if not chosen.suffix and suffix in (".tif", ".tiff", ".zarr", ".json", ".geff", ".png"):
        raise ValueError(f"{chosen.title}: name a folder, not a file such as {path.name}.")
    if image is not None and path.resolve() == image.resolve():
        raise FileExistsError(f"{path} is the image itself: choose another name for its masks.")
    check_free(path, overwrite=overwrite)
    if path.is_file() and (not chosen.suffix or chosen.suffix == ".geff"):
        raise FileExistsError(f"{path} is a file, and a folder is to be written: choose another.")
    if path.is_dir() and chosen.suffix == ".json":
        raise FileExistsError(f"{path} is a folder, and a file is to be written: choose another.")
    if path.is_file() and _is_session(path):
        raise FileExistsError(f"{path} is a session file, which is kept: choose another name.")


def export_results(
    results: ResultMasks,
    path: str | Path,
    format_name: str,
    calibration: Calibration | None = None,
    *,
    overwrite: bool = False,
) -> Iterator[int]:
    """
    Write results for other programs, yielding each frame as it is written.

    Nothing is at `path` until the last frame is written; stop it before and nothing ever is.

    Parameters
    ----------
    results
        `SessionMasks` of a session, or `LabelMasks` of a label image.
    path
        A file of the format's suffix, or a folder.
    format_name
        One of `FORMATS`.
    calibration
        Sizes and units to be written where the format has a place for them; pixels if ``None``.

    Raises
    ------
    ValueError, FileExistsError
        As `check_exchange`.
    """
    path, chosen = Path(path), format_named(format_name)
    check_exchange(path, chosen, overwrite=overwrite, image=results.source)
    return _written(results, path, chosen, calibration or Calibration())


def _written(
    results: ResultMasks, path: Path, chosen: ExchangeFormat, calibration: Calibration
) -> Iterator[int]:
    with written_whole(path) as part:
        yield from chosen.write(results, part, calibration)


def _is_session(path: Path) -> bool:
    try:
        return files.is_session(path)
    except SessionFileError:
        return False
