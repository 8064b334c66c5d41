"""Masks as they are kept: exact, small, and arrays to whoever asks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from sam2_backbone.inference.packed_mask import PackedMask
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import SAM2


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_packing_is_exact(mask: NDArray[np.bool_]) -> None:
    packed = PackedMask.pack(mask)
    np.testing.assert_array_equal(packed.to_array(), mask)
    np.testing.assert_array_equal(packed, mask)
    assert packed.shape == mask.shape
    assert packed == PackedMask.pack(mask.copy())
    assert hash(packed) == hash(PackedMask.pack(mask.copy()))
    if packed.extent is None:
        assert not mask.any()
    else:
        top, left, bottom, right = packed.extent
        np.testing.assert_array_equal(packed.box(), mask[top:bottom, left:right])
        for side in (packed.box()[0], packed.box()[-1], packed.box()[:, 0], packed.box()[:, -1]):
            assert side.any()
    for pixel in np.ndindex(mask.shape):
        other = mask.copy()
        other[pixel] ^= True
        assert packed != PackedMask.pack(other)


@given(
    arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)),
    st.tuples(*[st.integers(-15, 15)] * 2, *[st.integers(1, 20)] * 2),
)
def test_a_rectangle_is_cut_as_out_of_the_frame(
    mask: NDArray[np.bool_], place: tuple[int, int, int, int]
) -> None:
    top, left, height, width = place
    wide = np.pad(mask, 40)[top + 40 :, left + 40 :]
    np.testing.assert_array_equal(PackedMask.pack(mask).cut(*place), wide[:height, :width])


def test_it_stands_for_an_array() -> None:
    mask = np.eye(5, 7) > 0
    packed = PackedMask.pack(mask)
    assert np.asarray(packed, np.float32).dtype == np.float32
    assert np.array(packed).sum() == 5
    with pytest.raises(ValueError, match="makes a copy"):
        np.asarray(packed, copy=False)
    np.array(packed)[0, 0] = False
    assert packed.to_array()[0, 0]
    with pytest.raises(ValueError, match="read-only"):
        packed.bits[0] = 0


@given(st.integers(-1, 5), st.integers(-1, 5), st.integers(-1, 4), st.integers(0, 2))
def test_a_box_that_does_not_fit_is_refused(top: int, left: int, rows: int, count: int) -> None:
    fits = 0 <= top <= 4 - rows and 0 <= left <= 2 and rows >= 0 and count == -(-rows * 2 // 8)
    bits = np.zeros(count, np.uint8)
    if fits:
        PackedMask((4, 4), top, left, (rows, 2), bits)
    else:
        with pytest.raises(ValueError, match="is no mask of a frame"):
            PackedMask((4, 4), top, left, (rows, 2), bits)


def test_the_predictor_keeps_mask_prompts_small(small_model: SAM2) -> None:
    side, count = 512, 16
    predictor = VideoPredictor(small_model)
    state = predictor.init_state(np.zeros((1, side, side), np.uint8))
    given_masks = []
    for obj_id in range(1, count + 1):
        mask = np.zeros((side, side), bool)
        top, left = 120 * ((obj_id - 1) % 4), 120 * ((obj_id - 1) // 4)
        mask[top : top + 100, left : left + 100] = np.tri(100, dtype=bool)
        given_masks.append(PackedMask.pack(mask))
        if obj_id == 1:  # what is made once is not counted
            predictor.answer(state, 0, 1, mask=mask)
            tracemalloc.start()
        else:
            predictor.answer(state, 0, obj_id, mask=mask)
        del mask
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = [state.get(obj_id).prompts[0].mask for obj_id in range(1, count + 1)]
    assert kept == given_masks
    assert sum(mask.nbytes for mask in kept if mask is not None) == count * 100 * 100 // 8
    assert grown < count * side * side / 10  # a tenth of what whole frames take


def test_a_packed_mask_is_a_prompt(small_model: SAM2) -> None:
    predictor = VideoPredictor(small_model)
    state = predictor.init_state(np.zeros((2, 48, 40), np.uint8))
    mask = np.eye(48, 40) > 0
    packed = PackedMask.pack(mask)
    result = predictor.answer(state, 0, 1, mask=packed)
    np.testing.assert_array_equal(result.mask_logits[0, 0].numpy() > 0, mask)
    assert state.get(1).prompts[0].mask is packed
    predictor.load_mask(state, 1, 1, packed)
    with pytest.raises(ValueError, match="shape"):
        predictor.answer(state, 0, 1, mask=PackedMask.pack(mask[1:]))
