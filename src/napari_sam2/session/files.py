"""Where a session is kept: a JSON file, a file of arrays, and the image or the way to it."""

from __future__ import annotations

import json
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.session.atomic import written_whole
from napari_sam2.session.codec import Contents, decode, encode
from napari_sam2.session.errors import ImageMismatchError, ImageReadError, SessionFileError
from napari_sam2.session.images import (
    num_channels_of,
    open_frames,
    open_stacked,
    signature_of,
)
from sam2_backbone.errors import FrameReadError

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource

_PACKAGE = "napari-sam2"
_FORMAT = "napari-sam2 session"
_FORMAT_VERSION = 2
#: Characters of a session file that hold its format, which is written first.
_BEGINNING = 256
#: Formats that can be read: 1 holds whole frames of mask prompts.
_READABLE = (1, 2)


@dataclass(frozen=True)
class SavedImage:
    """
    The image of a session file.

    Attributes
    ----------
    path
        Where it was; relative to the session file if it was stored beside it.
    num_frames, height, width, dtype, is_rgb
        Its size and kind.
    signature
        Its fingerprint.
    num_channels
        Of how many grey channels it was composed; 0 for a grey or colour image.
    """

    path: str
    num_frames: int
    height: int
    width: int
    dtype: str
    is_rgb: bool
    signature: str
    num_channels: int = 0


@dataclass(frozen=True)
class Placement:
    """
    Where the frames of an image lie in the world: three values, along frame, rows and columns.

    Attributes
    ----------
    scale, translate
        Length of a step, and where the first pixel is.
    units
        As pint names them.
    axis_labels
        Names of the axes.
    affine
        Rows of the (4, 4) matrix that turns or shears what scale and translate have placed, in
        homogeneous coordinates; empty where there is none.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...]
    affine: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class SavedSession:
    """A session file that was read."""

    path: Path
    contents: Contents
    image: SavedImage
    placement: Placement | None = None

    def open_image(self, image: Any = None) -> tuple[FrameSource, Path | None]:
        """
        Return the frames of `image`, or of the image the file names, and where they were found.

        Raises
        ------
        ImageMismatchError
            It is another image.
        ImageReadError
            The image is not where it was.
        """
        found: Path | None = None
        if image is None:
            found = self._find_image()
            image = found
        elif isinstance(image, (str, Path)):
            found = Path(image)
        source = _open(image, is_rgb=self.image.is_rgb, num_channels=self.image.num_channels)
        if num_channels_of(source) > self.image.num_channels:
            raise ImageMismatchError(
                f"The session {self.path.name} was made on fewer channels than belong to "
                "the image now: take the image out of the viewer, add it again and open the "
                "session then."
            )
        is_size = (source.num_frames, source.height, source.width)
        was_size = (self.image.num_frames, self.image.height, self.image.width)
        if is_size != was_size:
            raise ImageMismatchError(
                f"The session {self.path.name} was made on another image, {self._image_name} with "
                f"{_size(was_size)}; this one has {_size(is_size)}: open the session with that "
                "image, along the same frame axis."
            )
        if signature_of(source) != self.image.signature:
            raise ImageMismatchError(
                f"The session {self.path.name} was made on another image, {self._image_name}; this "
                "one has its size but other pixels: open the session with that image, along the "
                "same frame axis."
            )
        return source, found

    @property
    def _image_name(self) -> str:
        # of a path of any system: a session that was saved on Windows may be opened elsewhere
        return PureWindowsPath(self.image.path).name

    def _find_image(self) -> Path:
        named = Path(self.image.path)
        for place in (self.path.parent / named, self.path.parent / self._image_name):
            if place.exists():
                return place
        raise ImageReadError(
            f"The image of the session {self.path.name} is no longer at {named}: "
            "give the place where it is now."
        )


def _size(size: tuple[int, int, int]) -> str:
    return f"{size[0]} frames of {size[1]} x {size[2]} pixels"


def save(
    path: Path,
    contents: Contents,
    source: FrameSource,
    image_path: Path | None,
    *,
    placement: Placement | None = None,
) -> None:
    """
    Write a session to `path`, a file of arrays beside it and, if it has no other, the image.

    The arrays get a new name each time, so that the JSON, which is renamed into place last, always
    names arrays that belong to it.

    Raises
    ------
    SessionFileError
        It could not be written; the session saved before is still there.
    """
    if path.is_dir():
        raise SessionFileError(f"{path} is a folder: name a file in it, such as session.json.")
    if image_path is not None and path.resolve() == image_path.resolve():
        raise SessionFileError(f"{path} is the image itself: choose another name for the session.")
    previous = _arrays_of(path)
    tree, arrays = encode(contents)
    arrays_path = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.npz")
    try:
        image = _save_image(path, source, image_path)
        with written_whole(arrays_path) as part, part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        try:
            with written_whole(path) as part:
                part.write_text(
                    json.dumps(
                        {
                            "format": _FORMAT,
                            "version": _FORMAT_VERSION,
                            "written_by": _versions(),
                            "image": vars(image),
                            "placement": None if placement is None else vars(placement),
                            "arrays": arrays_path.name,
                            **tree,
                        },
                        indent=1,
                    ),
                    encoding="utf-8",
                )
        except BaseException:  # an interrupt too must not leave arrays that no JSON names
            arrays_path.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise SessionFileError(f"The session cannot be saved to {path}: {reason}.") from error
    if previous is not None and not _is_named_by_another(previous, path):
        previous.unlink(missing_ok=True)


def read(path: Path) -> SavedSession:
    """
    Read a session file.

    Raises
    ------
    SessionFileError
        It is missing, damaged, of a later version, or no session.
    """
    tree = read_json(path)
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        raise SessionFileError(f"{path} is not a session of napari-sam2.")
    if tree.get("version") not in _READABLE:
        raise SessionFileError(
            f"The session {path} was written by a later napari-sam2 "
            f"(format {tree.get('version')}): update to open it."
        )
    try:
        arrays_path = path.with_name(Path(str(tree["arrays"])).name)
        with np.load(arrays_path, allow_pickle=False) as arrays:
            contents = decode(tree, dict(arrays))
        image = SavedImage(**tree["image"])
        placement = _decode_placement(tree.get("placement"))
    except FileNotFoundError as error:
        raise SessionFileError(
            f"The session {path} misses its masks: copy {arrays_path.name} beside it."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError) as error:
        raise SessionFileError(_not_understood(path, tree)) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise SessionFileError(
            f"The masks of the session {path} are damaged and cannot be read."
        ) from error
    return SavedSession(path=path, contents=contents, image=image, placement=placement)


def _decode_placement(row: Mapping[str, Any] | None) -> Placement | None:
    if row is None:
        return None
    named = {name: tuple(values) for name, values in row.items() if name != "affine"}
    return Placement(**named, affine=tuple(tuple(line) for line in row.get("affine", ())))


def is_session(path: Path) -> bool:
    """Whether a file says of itself, as its first word, that it is a session; no more is read."""
    with _readable(path), path.open(encoding="utf-8", errors="replace") as file:
        return _FORMAT in file.read(_BEGINNING)


def read_json(path: Path) -> Any:
    """
    Return what a JSON file holds.

    Raises
    ------
    SessionFileError
        It is missing, unreadable, or no JSON.
    """
    with _readable(path):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SessionFileError(f"{path} is not valid JSON.") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SessionFileError(f"There is no file {path}.") from error
    except OSError as error:
        raise SessionFileError(f"{path} cannot be read: {error.strerror}.") from error


def _arrays_of(path: Path) -> Path | None:
    """Return the arrays of the session that `path` holds now, if it is one."""
    try:
        tree = read_json(path) if is_session(path) else None
    except SessionFileError:
        return None
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        return None
    return path.with_name(Path(str(tree.get("arrays"))).name)


def _is_named_by_another(arrays: Path, path: Path) -> bool:
    """Whether a copy that somebody made of a session's JSON needs its arrays too."""
    others = (other for other in path.parent.glob("*.json") if other.name != path.name)
    return any(_arrays_of(other) == arrays for other in others)


def _save_image(path: Path, source: FrameSource, image_path: Path | None) -> SavedImage:
    signature = signature_of(source)
    if image_path is not None and _shows(image_path, source, signature):
        place = str(image_path.resolve())
    else:
        stored = _place_beside(path, source, signature)
        if not stored.exists():
            _write_image(stored, source)
        place = stored.name
    return SavedImage(
        path=place,
        num_frames=source.num_frames,
        height=source.height,
        width=source.width,
        dtype=np.dtype(source.dtype).newbyteorder("=").name,
        is_rgb=bool(source.is_rgb),
        signature=signature,
        num_channels=num_channels_of(source),
    )


def _place_beside(path: Path, source: FrameSource, signature: str) -> Path:
    """Return where the image is or may be stored; what is there of others is never replaced."""
    names = (f"{path.stem}{f'-{number}' if number else ''}.zarr" for number in count())
    places = (path.with_name(name) for name in names)
    return next(place for place in places if not place.exists() or _shows(place, source, signature))


def _shows(path: Path, source: FrameSource, signature: str) -> bool:
    """Whether `path` can be read and holds these frames."""
    if not path.exists():
        return False
    try:
        num_channels = num_channels_of(source)
        opened = _open(path, is_rgb=source.is_rgb, num_channels=num_channels)
        return signature_of(opened) == signature
    except (ImageReadError, FrameReadError, TypeError, ValueError):
        return False


def _open(image: Any, *, is_rgb: bool, num_channels: int) -> FrameSource:
    return open_stacked(image) if num_channels else open_frames(image, as_movie=not is_rgb)


def _write_image(path: Path, source: FrameSource) -> None:
    """Write all frames losslessly, one chunk a frame; colour images get a frame axis too."""
    import zarr

    frame = np.asarray(source.read(0))
    with written_whole(path) as part:
        array = zarr.create_array(
            store=str(part),
            shape=(source.num_frames, *frame.shape),
            chunks=(1, *frame.shape),
            dtype=frame.dtype.newbyteorder("="),
        )
        for frame_idx in range(source.num_frames):
            array[frame_idx] = source.read(frame_idx)


def _not_understood(path: Path, tree: Mapping[str, Any]) -> str:
    """Say what may be wrong with a session: another version may write more than this one reads."""
    written_by, here = tree.get("written_by"), _versions().get(_PACKAGE)
    writer = written_by.get(_PACKAGE) if isinstance(written_by, Mapping) else None
    if writer is None or writer == here:
        return f"The session {path} is damaged and cannot be read."
    return (
        f"The session {path} is damaged, or needs {_PACKAGE} {writer}, which wrote it; here is "
        f"{here}: install that version to open it."
    )


def _versions() -> dict[str, str]:
    names = (_PACKAGE, "torch", "timm", "numpy")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
