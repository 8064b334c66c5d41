"""What a session keeps of masks that a person gave: bytes are counted."""

from __future__ import annotations

import tracemalloc

import numpy as np

from fakes import FakeFrames, FakePredictor, FakeResult
from napari_sam2.session.codec import decode, encode
from napari_sam2.session.session import Session
from sam2_backbone.inference.packed_mask import PackedMask

SIDE, COUNT, BOX = 2048, 300, 60


class QuietPredictor(FakePredictor):
    """Takes masks without remembering or answering anything."""

    def answer(self, state, frame_idx, obj_id, *, mask=None, **said):
        assert isinstance(mask, PackedMask)
        return FakeResult(frame_idx, (obj_id,), np.ones(1), np.ones(1), ())


def grid_labels() -> np.ndarray:
    """Return 300 squares, ``(2048, 2048)``."""
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number in range(COUNT):
        row, column = divmod(number, 20)
        labels[row * 100 : row * 100 + BOX, column * 100 : column * 100 + BOX] = number + 1
    return labels


def test_300_labels_take_what_they_cover() -> None:
    labels = grid_labels()
    session = Session(
        FakeFrames(np.zeros((1, SIDE, SIDE), np.uint8)), predictor_factory=QuietPredictor
    )
    session.add_mask(session.new_object(obj_id=1000), 0, labels == 1)  # what is made once
    tracemalloc.start()
    for _ in session.add_labels({0: labels}):
        pass
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    states = session.document.objects.values()
    prompts = [state.prompts[0].mask for state in states]
    assert sum(mask.nbytes for mask in prompts if mask is not None) == (COUNT + 1) * BOX * BOX // 8
    masks = sum(state.masks[0].logits.nbytes for state in states)
    assert masks == (COUNT + 1) * BOX * BOX
    # beside the masks themselves: ids, names, undo steps; whole frames would be 1.2 GB
    assert grown < masks + COUNT * 8192
    np.testing.assert_array_equal(session.mask(7, 0), labels == 7)

    tree, arrays = encode(session.contents())
    assert arrays["prompt_bits"].nbytes <= 2 * (COUNT + 1) * BOX * BOX // 8
    assert decode(tree, arrays).document == session.document


def test_whole_frames_of_the_first_format_are_read() -> None:
    session = Session(FakeFrames(np.zeros((3, 40, 50), np.uint8)), predictor_factory=FakePredictor)
    given = [np.random.default_rng(seed).random((40, 50)) > 0.9 for seed in range(2)]
    for frame_idx, mask in enumerate([*given, np.zeros((40, 50), bool)]):
        session.add_mask(session.new_object(), frame_idx, mask)
    tree, arrays = encode(session.contents())
    del arrays["prompt_places"]
    whole = [*given, np.zeros((40, 50), bool)]
    arrays["prompt_shapes"] = np.array([mask.shape for mask in whole])
    arrays["prompt_bits"] = np.concatenate([np.packbits(mask) for mask in whole])
    assert decode(tree, arrays).document == session.document
