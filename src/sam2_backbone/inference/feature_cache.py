"""Was this view of this frame encoded already: a small store of image features."""

from __future__ import annotations

from collections import OrderedDict

from sam2_backbone.inference.memory_budget import MemoryBudget
from sam2_backbone.inference.transforms import View
from sam2_backbone.modeling.sam2 import ImageFeatures


class FeatureCache:
    """The most recently used features, up to a budget's number of bytes and of entries."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._max_bytes, self._max_entries = budget.feature_bytes, budget.feature_entries
        self._entries: OrderedDict[tuple[int, View], ImageFeatures] = OrderedDict()
        self._bytes = 0

    def get(self, frame_idx: int, view: View) -> ImageFeatures | None:
        """Features of one view, batch 1, or None."""
        key = (frame_idx, view)
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, frame_idx: int, view: View, features: ImageFeatures) -> None:
        """Keep features; the oldest go when the limits are passed."""
        previous = self._entries.pop((frame_idx, view), None)
        if previous is not None:
            self._bytes -= _num_bytes(previous)
        self._entries[frame_idx, view] = features
        self._bytes += _num_bytes(features)
        while len(self._entries) > 1 and (
            self._bytes > self._max_bytes or len(self._entries) > self._max_entries
        ):
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= _num_bytes(oldest)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0


def _num_bytes(features: ImageFeatures) -> int:
    return sum(t.nbytes for t in (features.embedding, *features.high_res))
