"""The session: objects, prompts and masks of one movie, with undo, for hand and script alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session import files, given_masks, object_edits, prompt_edits
from napari_sam2.session.codec import Contents
from napari_sam2.session.history import Action, ChangeSettings, Direction
from napari_sam2.session.images import open_frames
from napari_sam2.session.intensities import Channel
from napari_sam2.session.ledger import Ledger, SessionEvents
from napari_sam2.session.masks import Candidate, Region, Scores, StoredMask
from napari_sam2.session.model_hub import Environment, ModelHub, choice_of, weights_sha256
from napari_sam2.session.objects import Document, ObjectRecord
from napari_sam2.session.predictor import ModelViewLike, Predictor
from napari_sam2.session.prompts import FramePrompts
from napari_sam2.session.propagation import checked_propagation, reachable_frames, run
from napari_sam2.session.reopening import settings_here
from napari_sam2.session.segmentation import Segmentation
from napari_sam2.session.settings import SessionSettings, Window

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource
    from sam2_backbone.inference.packed_mask import PackedMask

PredictorFactory = Callable[[SessionSettings], Predictor]


class Session:
    """
    One movie or image, the objects in it, and what the model says of them.

    All methods may be called from any thread. Coordinates are (y, x) in pixels of the frame: an
    integer is a pixel's centre; boxes are edges. A 2-D image has the one frame 0. A call that
    fails leaves the session as it was.

    Parameters
    ----------
    image
        ``(H, W)``, ``(T, H, W)``, ``(H, W, 3|4)`` or ``(T, H, W, 3|4)``; NumPy, dask, zarr and
        alike are read a frame at a time; a path; or a ``FrameSource``.
    variant
        Name of the network; ``None`` recognises the one in the file `weights`.
    value_range
        Intensities shown to the model as black and white; ``None`` chooses for the whole stack.
    channels
        Up to three channels and how each is shown, instead of `value_range`.
    window
        ``"auto"``, ``None`` (the whole frame) or a side in pixels.
    weights, device, dtype
        As `sam2_backbone.build_sam2` takes them.
    memory_mib
        MiB, about, that kept features and objects computed together may take beside the weights.
    path
        Where `image` was read from, so that a saved session need not copy it.
    models
        Shared by sessions that should share loaded models.
    predictor_factory
        Makes the predictor instead of `models`, given the settings.
    """

    def __init__(
        self,
        image: Any,
        *,
        variant: str | None = "micro",
        value_range: tuple[float, float] | None = None,
        window: Window = "auto",
        weights: str | Path = "default",
        device: str = "auto",
        dtype: str = "auto",
        channels: Sequence[Channel] = (),
        memory_mib: int = 1024,
        path: str | Path | None = None,
        models: ModelHub | None = None,
        predictor_factory: PredictorFactory | None = None,
    ) -> None:
        settings = SessionSettings(
            variant=variant,
            weights=str(weights),
            device=str(device),
            dtype=str(dtype).removeprefix("torch."),
            value_range=value_range,
            window=window,
            channels=tuple(channels),
            memory_mib=memory_mib,
        )
        if predictor_factory is None:
            settings.check_variant()
        is_path = isinstance(image, (str, Path))
        self.path: Path | None = Path(image) if is_path else Path(path) if path else None
        self.placement: files.Placement | None = None
        """Where the frames lie in the world, as far as somebody has said so; it is saved."""
        self.models = models if models is not None else ModelHub()
        self.uses_models = predictor_factory is None
        self._ledger = Ledger(
            Segmentation(open_frames(image), settings, predictor_factory or self.models.predictor)
        )

    @property
    def events(self) -> SessionEvents:
        """Signals that tell what changed."""
        return self._ledger.events

    @property
    def source(self) -> FrameSource:
        """The frames, with all channels that there are by now."""
        return self._ledger.source

    @property
    def num_frames(self) -> int:
        """Frames of the movie, 1 for an image."""
        return self.source.num_frames

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.source.height

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.source.width

    @property
    def settings(self) -> SessionSettings:
        """The model, intensities and window in use."""
        return self._ledger.settings

    @property
    def variant(self) -> str | None:
        """Name of the network."""
        return self.settings.variant

    def load_network(self) -> None:
        """Load the network, or download it first, without keeping others from the session."""
        if self.uses_models:
            self.models.model(choice_of(self.settings))

    @property
    def window(self) -> Window:
        """Side of the window the model looks through."""
        return self.settings.window

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The intensities given as black and white, or ``None`` where the backbone chooses."""
        return self.settings.value_range

    @property
    def environment(self) -> Environment | None:
        """Where the model computes, or ``None`` before it was loaded."""
        return self.models.environment(self.settings) if self.uses_models else None

    @property
    def document(self) -> Document:
        """All objects as they are now; a value that never changes."""
        return self._ledger.document

    @property
    def log(self) -> tuple[Action, ...]:
        """Every action since the session began, undone ones included."""
        return tuple(self._ledger.history.log)

    @property
    def objects(self) -> tuple[ObjectRecord, ...]:
        """The rows of the object table."""
        return tuple(state.record() for state in self._ledger.document.objects.values())

    # Objects

    def new_object(self, name: str | None = None, *, obj_id: int | None = None) -> int:
        """Make an object and return its id, the next free one unless `obj_id` is given."""
        return object_edits.new_object(self._ledger, name, obj_id)

    def rename_object(self, obj_id: int, name: str) -> None:
        """Give an object another name."""
        object_edits.rename_object(self._ledger, obj_id, name)

    def remove_object(self, obj_id: int) -> None:
        """Remove an object with its prompts and masks; its id is not used again."""
        object_edits.remove_object(self._ledger, obj_id)

    def hide(self, obj_id: int) -> None:
        """Take an object out of sight in a viewer; its masks stay in the labels."""
        object_edits.set_hidden(self._ledger, obj_id, hidden=True)

    def show(self, obj_id: int) -> None:
        """Show a hidden object again."""
        object_edits.set_hidden(self._ledger, obj_id, hidden=False)

    def lock(self, obj_id: int, frame_idx: int | Iterable[int] | None = None) -> None:
        """Accept masks, the whole object if `frame_idx` is ``None``: they are never overwritten."""
        if frame_idx is None:
            object_edits.lock_object(self._ledger, obj_id, locked=True)
        else:
            object_edits.set_locks(self._ledger, obj_id, frame_idx, locked=True)

    def unlock(
        self,
        obj_id: int,
        frame_idx: int | Iterable[int] | None = None,
        *,
        keep_frames: bool = True,
    ) -> None:
        """
        Let masks of some frames change again, or take back that the whole object was accepted.

        Frames that were locked one by one stay so with their object, unless `keep_frames` is false.
        """
        if frame_idx is None:
            object_edits.lock_object(self._ledger, obj_id, locked=False, keeps_frames=keep_frames)
        else:
            object_edits.set_locks(self._ledger, obj_id, frame_idx, locked=False)

    # Prompts

    def prompts(self, obj_id: int, frame_idx: int) -> FramePrompts | None:
        """Return what was said of an object on a frame, (y, x), or ``None``."""
        return self._ledger.object(obj_id).prompts.get(self._ledger.frame(frame_idx))

    def add_point(
        self, obj_id: int, frame_idx: int, point: Sequence[float], positive: bool = True
    ) -> None:
        """Click at `point` (y, x)."""
        prompt_edits.click(self._ledger, obj_id, frame_idx, point, positive)

    def add_box(self, obj_id: int, frame_idx: int, box: Sequence[float]) -> None:
        """Draw a box (y0, x0, y1, x1), edges; it replaces a box or mask that was there."""
        prompt_edits.draw_box(self._ledger, obj_id, frame_idx, box)

    def add_mask(self, obj_id: int, frame_idx: int, mask: npt.ArrayLike) -> None:
        """Say that the object is `mask` ``(H, W)``; it replaces all that was said of this frame."""
        prompt_edits.set_prompts(self._ledger, obj_id, frame_idx, mask=mask)

    def set_prompts(
        self,
        obj_id: int,
        frame_idx: int,
        *,
        points: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | PackedMask | None = None,
        candidate: int = 0,
    ) -> None:
        """Replace all prompts of an object on a frame, (y, x); nothing clears them."""
        prompt_edits.set_prompts(
            self._ledger,
            obj_id,
            frame_idx,
            points=points,
            point_labels=point_labels,
            box=box,
            mask=mask,
            candidate=candidate,
        )

    def set_masks(self, frame_idx: int, masks: Mapping[int, npt.ArrayLike]) -> None:
        """Say what several objects are on a frame, ``(H, W)`` by id; all or none, one step."""
        given_masks.set_masks(self._ledger, frame_idx, masks)

    def add_labels(self, labels: Mapping[int, npt.ArrayLike]) -> Generator[int, None, None]:
        """
        Make an object of every label of some frames, yielding its id; stop it at will.

        Parameters
        ----------
        labels
            Frame to ``(H, W)`` whole numbers, 0 is background. A label keeps its value as id where
            that is free; on several frames it is the same object.
        """
        checked = given_masks.checked_labels(self._ledger, labels)
        return given_masks.add_labels(self._ledger, checked)

    def candidates(self, obj_id: int, frame_idx: int) -> tuple[Candidate, ...]:
        """Return the answers to the first click there, best first; none where it was clear."""
        state, frame_idx = self._ledger.object(obj_id), self._ledger.frame(frame_idx)
        if frame_idx not in state.prompts:  # taken back; the model hears of it when next asked
            return ()
        return self._ledger.segmentation.candidates.get((state.obj_id, frame_idx), ())

    def choose_candidate(self, obj_id: int, frame_idx: int, candidate: int) -> None:
        """Mean another answer to the first click; further clicks refine that one."""
        prompt_edits.choose_candidate(self._ledger, obj_id, frame_idx, candidate)

    def preview(
        self,
        frame_idx: int,
        point: Sequence[float],
        positive: bool = True,
        *,
        obj_id: int | None = None,
    ) -> StoredMask | None:
        """Return the mask that a click at `point` (y, x) would give; nothing is changed."""
        return prompt_edits.preview(self._ledger, frame_idx, point, positive, obj_id)

    def anticipate(
        self, frame_idx: int, point: Sequence[float], *, obj_id: int | None = None
    ) -> None:
        """Prepare the answer to a click at `point` (y, x), of a new object or of one."""
        prompt_edits.anticipate(self._ledger, frame_idx, point, obj_id)

    def model_input(self, frame_idx: int, obj_id: int | None = None) -> ModelViewLike:
        """Return what the network is given of a frame, or of an object there."""
        ledger = self._ledger
        with ledger.turn():
            state = None if obj_id is None else ledger.object(obj_id)
            return ledger.segmentation.model_input(state, ledger.frame(frame_idx))

    # Masks

    def mask(self, obj_id: int, frame_idx: int) -> npt.NDArray[np.bool_] | None:
        """Return an object's mask ``(H, W)``, empty where it is absent, ``None`` where unknown."""
        stored = self._ledger.object(obj_id).masks.get(self._ledger.frame(frame_idx))
        return None if stored is None else stored.to_array(self.height, self.width)

    def labels(
        self, frame_idx: int, region: Region | None = None
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return the label image ``(H, W)``, or a region of it; overlaps go to the higher logit."""
        frame_idx = self._ledger.frame(frame_idx)
        return self._ledger.document.labels(frame_idx, self.height, self.width, region)

    def scores(self, obj_id: int, frame_idx: int) -> Scores | None:
        """Return how sure the model is of a mask, or ``None`` where there is none."""
        stored = self._ledger.object(obj_id).masks.get(self._ledger.frame(frame_idx))
        return None if stored is None else Scores(stored.object_score, stored.iou)

    def propagate(
        self,
        direction: Direction = "both",
        obj_ids: Iterable[int] | None = None,
        frames: Iterable[int] | None = None,
    ) -> Generator[int, None, None]:
        """
        Follow objects through the movie; yields each frame as soon as its masks are stored.

        The lock is free between two frames, so prompts may be given meanwhile. Stop at any time and
        call again to continue.

        Parameters
        ----------
        direction
            ``"forward"``, ``"backward"`` or ``"both"`` from each object's prompts.
        obj_ids
            Objects to follow; all that have prompts if ``None``.
        frames
            Frames to fill in; all if ``None``.
        """
        request = checked_propagation(self._ledger, direction, obj_ids, frames)
        return run(self._ledger, request)

    def propagation_length(
        self,
        direction: Direction = "both",
        obj_ids: Iterable[int] | None = None,
        frames: Iterable[int] | None = None,
    ) -> int:
        """Return how many steps `propagate` takes at most with these arguments."""
        request = checked_propagation(self._ledger, direction, obj_ids, frames)
        return len(
            reachable_frames(
                self._ledger.document, self.num_frames, direction, request.obj_ids, request.frames
            )
        )

    def frame(self, frame_idx: int) -> int:
        """Return `frame_idx` as an int, or raise ``ValueError`` if there is no such frame."""
        return self._ledger.frame(frame_idx)

    # Steps

    def one_step(self, title: str) -> AbstractContextManager[None]:
        """Let everything inside be one step for undo; nothing of it stays if it fails."""
        return self._ledger.whole_step(title)

    def undo(self) -> str | None:
        """Take the last step back; returns what it was, or ``None`` if there was none."""
        return self._ledger.undo()

    def redo(self) -> str | None:
        """Do the last undone step again; returns what it was, or ``None`` if there was none."""
        return self._ledger.redo()

    @property
    def undo_title(self) -> str | None:
        """What `undo` would take back, or ``None``."""
        return self._ledger.history.undo_title

    @property
    def redo_title(self) -> str | None:
        """What `redo` would do again, or ``None``."""
        return self._ledger.history.redo_title

    # Settings and files

    def set_variant(self, variant: str | None, *, weights: str | Path = "default") -> None:
        """Use another network for the next answers; masks stay as they are."""
        self.change_settings(replace(self.settings, variant=variant, weights=str(weights)))

    def set_value_range(self, value_range: tuple[float, float] | None) -> None:
        """Show the model other intensities as black and white from the next answer on."""
        self.change_settings(replace(self.settings, value_range=value_range))

    def change_settings(self, settings: SessionSettings, source: FrameSource | None = None) -> None:
        """Use other settings for the next answers, on `source` if it has got more channels."""
        if self.uses_models:
            settings.check_variant()
        self._ledger.use_settings(settings, source)

    def start_anew(self) -> None:
        """Keep objects, prompts and masks; forget undo and the memory of the model."""
        with self._ledger.turn():
            ledger = self._ledger
            ledger.begin(self.settings, ledger.document, ledger.next_obj_id, self.log)

    def save(self, path: str | Path) -> None:
        """Write everything to `path` (JSON) and a file of arrays beside it, all or nothing."""
        contents = self.contents()
        files.save(Path(path), contents, self.source, self.path, placement=self.placement)

    @classmethod
    def load(
        cls,
        path: str | Path,
        image: Any = None,
        *,
        models: ModelHub | None = None,
        predictor_factory: PredictorFactory | None = None,
    ) -> Session:
        """
        Read a session; `image` is needed only where the one it names cannot be found.

        Where the network is not the one that was used, a ``UserWarning`` says so.
        """
        saved = files.read(Path(path))
        source, found = saved.open_image(image)
        session = cls(source, path=found, models=models, predictor_factory=predictor_factory)
        notice = session.restore(saved.contents, f"the session {saved.path.name}")
        if notice:
            warnings.warn(notice, UserWarning, stacklevel=2)
        return session

    def restore(self, contents: Contents, what: str) -> str:
        """
        Take over everything of a saved session but its image.

        Returns, and tells by the event `noticed`, what a person should know of it, where there is
        something: a sentence in which the saved session is called `what`.
        """
        settings, notice = contents.settings, ""
        if self.uses_models:
            settings, notice = settings_here(contents, self.settings, what)
        with self._ledger.turn():
            log = contents.log
            if settings != contents.settings:
                log = (*log, ChangeSettings(settings))
            self._ledger.begin(settings, contents.document, contents.next_obj_id, log)
            if notice:
                self._ledger.later(self.events.noticed.emit, notice)
        return notice

    def contents(self, *, with_hash: bool = True) -> Contents:
        """Return everything but the image, as one moment; hashing large weights takes seconds."""
        with self._ledger.turn():
            return Contents(
                settings=self.settings,
                environment=self.environment,
                weights_sha256=(
                    weights_sha256(self.settings) if with_hash and self.uses_models else None
                ),
                document=self._ledger.document,
                log=self.log,
                next_obj_id=self._ledger.next_obj_id,
            )
