"""What a session asks of a video predictor, so that tests can answer with discs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam2.session.settings import Window


class TensorLike(Protocol):
    """A NumPy array or a torch tensor."""

    def __getitem__(self, index: Any, /) -> Any: ...


class ObjectMaskLike(Protocol):
    """A crop of logits; outside of it the object is not."""

    @property
    def obj_id(self) -> int: ...
    @property
    def top(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def logits(self) -> Any: ...


class FrameResultLike(Protocol):
    """The predictor's answer for one frame."""

    @property
    def frame_idx(self) -> int: ...
    @property
    def obj_ids(self) -> Sequence[int]: ...
    @property
    def object_scores(self) -> TensorLike: ...
    @property
    def ious(self) -> TensorLike: ...
    @property
    def object_masks(self) -> Sequence[ObjectMaskLike]: ...
    @property
    def candidates(self) -> Sequence[ObjectMaskLike]: ...
    @property
    def candidate_ious(self) -> Sequence[float]: ...


class ViewLike(Protocol):
    """A rectangle of a frame in pixels; it may reach beyond the frame."""

    @property
    def top(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


class ModelViewLike(Protocol):
    """What the network is given of a frame: `pixels` ``(S, S, 3)`` in 0…1, cut out at `view`."""

    @property
    def view(self) -> ViewLike: ...
    @property
    def pixels(self) -> npt.NDArray[np.float32]: ...


class Predictor(Protocol):
    """The methods of `sam2_backbone.VideoPredictor` that a session calls. x, y in pixels."""

    def init_state(
        self,
        frames: Any,
        *,
        value_range: tuple[float, float] | None = None,
        window: Window = None,
    ) -> Any:
        """Open a movie."""

    def answer(
        self,
        state: Any,
        frame_idx: int,
        obj_id: int,
        *,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        box: Any = None,
        mask: Any = None,
        on_first_look: Callable[[FrameResultLike], None] | None = None,
    ) -> FrameResultLike:
        """Take a prompt and return the mask of that object on that frame."""

    def anticipate_click(
        self, state: Any, frame_idx: int, point: Any, obj_id: int | None = None
    ) -> None:
        """Prepare the answer to a click; no answer is changed by it."""

    def propagate(
        self,
        state: Any,
        direction: Literal["forward", "backward", "both"] = "both",
        obj_ids: Sequence[int] | None = None,
        frames: Iterable[int] | None = None,
    ) -> Iterator[FrameResultLike]:
        """Follow objects."""

    def model_input(self, state: Any, frame_idx: int, obj_id: int | None) -> ModelViewLike:
        """Return what the network is given of an object, or of no object, on a frame."""

    def load_mask(self, state: Any, frame_idx: int, obj_id: int, mask: Any) -> None:
        """Remember a tracked frame without a prompt."""

    def clear_all_prompts_in_frame(self, state: Any, frame_idx: int, obj_id: int) -> Any:
        """Forget the prompts of a frame."""

    def remove_object(self, state: Any, obj_id: int) -> Any:
        """Forget an object."""


def as_array(values: Any) -> npt.NDArray[np.float32]:
    """Return a tensor of any device and float dtype, or an array, as float32 in memory."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float32, copy=False)
    return np.asarray(values.detach().float().cpu().numpy())
