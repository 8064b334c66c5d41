"""Which formats results are exchanged in, how their files are called, and what may be replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_sam2.session import files
from napari_sam2.session.atomic import written_whole
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.export_coco import write_annotations
from napari_sam2.session.export_ctc import write_tracks
from napari_sam2.session.export_geff import write_graph
from napari_sam2.session.export_movie import check_encoder, write_movie
from napari_sam2.session.export_sav import write_folders, write_masklets
from napari_sam2.session.export_trackmate import write_tracks as write_spots
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.overlay import MovieStyle
from napari_sam2.session.own_folders import check_free
from napari_sam2.session.result_masks import ResultMasks

# what nobody means for the name of a folder
_OF_FILES = (".tif", ".tiff", ".zarr", ".json", ".geff", ".png", ".mp4", ".xml")

Write = Callable[[ResultMasks, Path, Calibration], Iterator[int]]


@dataclass(frozen=True)
class ExchangeFormat:
    """
    A format of other programs, or a movie for people.

    Attributes
    ----------
    name
        As it is typed on the command line.
    title
        As a person reads it.
    suffix
        Of the file, as it is proposed; a folder of any name is written where it is empty.
    ending
        What a proposed name ends with, after that of the image.
    write
        Writes all frames to a new name.
    other_suffixes
        What the file's name may end in, too.
    """

    name: str
    title: str
    suffix: str
    ending: str
    write: Write
    other_suffixes: tuple[str, ...] = ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """All that the file's name may end in; none where a folder is written."""
        return (self.suffix, *self.other_suffixes) if self.suffix else ()

    @property
    def is_file(self) -> bool:
        """Whether a file is written, and not a folder."""
        return self.suffix not in ("", ".geff")

    def name_for(self, source: Path | None) -> str:
        """Propose a name for the results on an image."""
        stem = "results" if source is None else source.name.split(".")[0] or source.stem
        return stem + self.ending


#: The format to look at; the others are for programs.
MOVIE = "movie"

FORMATS = {
    row.name: row
    for row in (
        ExchangeFormat("ctc", "Cell Tracking Challenge", "", "_RES", write_tracks),
        ExchangeFormat("geff", "GEFF, a graph of tracks", ".geff", ".geff", write_graph),
        ExchangeFormat("coco", "COCO", ".json", "_coco.json", write_annotations),
        ExchangeFormat("sav", "SA-V masklets", ".json", "_manual.json", write_masklets),
        ExchangeFormat("sav-folders", "SA-V frames and masks", "", "_sav", write_folders),
        ExchangeFormat("trackmate", "TrackMate", ".xml", "_trackmate.xml", write_spots),
        ExchangeFormat(
            MOVIE, "Overlay movie", ".mp4", "_overlay.mp4", write_movie, (".tif", ".tiff")
        ),
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
    ExportError
        What it takes to write it is not installed.
    """
    suffix = path.suffix.lower()
    if chosen.suffix and suffix not in chosen.suffixes:
        allowed = " or ".join(chosen.suffixes[:2])
        raise ValueError(f"{chosen.title}: name a file that ends in {allowed}.")
    if not chosen.suffix and suffix in _OF_FILES:
        raise ValueError(f"{chosen.title}: name a folder, not a file such as {path.name}.")
    if image is not None and path.resolve() == image.resolve():
        raise FileExistsError(f"{path} is the image itself: choose another name for its masks.")
    check_free(path, overwrite=overwrite)
    if path.is_file() and not chosen.is_file:
        raise FileExistsError(f"{path} is a file, and a folder is to be written: choose another.")
    if path.is_dir() and chosen.is_file:
        raise FileExistsError(f"{path} is a folder, and a file is to be written: choose another.")
    if path.is_file() and _is_session(path):
        raise FileExistsError(f"{path} is a session file, which is kept: choose another name.")
    if chosen.name == MOVIE:
        check_encoder(path)


def export_results(
    results: ResultMasks,
    path: str | Path,
    format_name: str,
    calibration: Calibration | None = None,
    *,
    overwrite: bool = False,
    style: MovieStyle | None = None,
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
    style
        How a movie looks.

    Raises
    ------
    ValueError, FileExistsError, ExportError
        As `check_exchange`, or a style is given for something that is no movie.
    """
    path, chosen = Path(path), format_named(format_name)
    write = chosen.write
    if style is not None:
        if chosen.name != MOVIE:
            raise ValueError(f"{chosen.title}: only a movie has a style.")
        write = partial(write_movie, style=style)
    check_exchange(path, chosen, overwrite=overwrite, image=results.source)
    return _written(results, path, write, calibration or Calibration())


def _written(
    results: ResultMasks, path: Path, write: Write, calibration: Calibration
) -> Iterator[int]:
    with written_whole(path) as part:
        yield from write(results, part, calibration)


def _is_session(path: Path) -> bool:
    try:
        return files.is_session(path)
    except SessionFileError:
        return False
