"""One image: shapes of one object and of batches, and prompts that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_backbone.inference.image_predictor import ImagePredictor
from sam2_backbone.modeling.sam2 import SAM2


@pytest.fixture
def predictor(small_model: SAM2, movie: NDArray[np.uint8]) -> ImagePredictor:
    predictor = ImagePredictor(small_model)
    predictor.set_image(movie[0])
    return predictor


def test_one_object(predictor: ImagePredictor) -> None:
    masks, ious, low_res = predictor.predict(np.array([[13, 15]]), np.array([1]))
    assert (masks.shape, ious.shape, low_res.shape) == ((3, 48, 40), (3,), (3, 16, 16))
    assert masks.dtype == bool
    assert float(np.abs(low_res).max()) <= 32
    best = low_res[ious.argmax()][None]
    logits, _, _ = predictor.predict(
        np.array([[13, 15], [2, 2]]),
        np.array([1, 0]),
        mask_input=best,
        multimask_output=False,
        return_logits=True,
    )
    assert logits.shape == (1, 48, 40)
    assert logits.dtype == np.float32


def test_batches_have_a_leading_axis_and_equal_single_calls(predictor: ImagePredictor) -> None:
    boxes = np.array([[5, 6, 20, 25], [1, 1, 39, 47]])
    masks, ious, low_res = predictor.predict(box=boxes)
    assert (masks.shape, ious.shape, low_res.shape) == ((2, 3, 48, 40), (2, 3), (2, 3, 16, 16))
    for row, box in enumerate(boxes):
        _, alone, _ = predictor.predict(box=box)
        np.testing.assert_allclose(ious[row], alone, atol=1e-5)
    points = np.array([[[13, 15], [2, 2]], [[20, 20], [0, 0]]])
    masks, _, _ = predictor.predict(points, np.array([[1, 0], [1, -1]]), multimask_output=False)
    assert masks.shape == (2, 1, 48, 40)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({}, "the prompt is empty"),
        ({"point_coords": [[1, 1]]}, "given together"),
        ({"point_coords": [[1, 1]], "point_labels": [1, 1]}, "as many point_labels"),
        ({"point_coords": [[50, 1]], "point_labels": [1]}, "outside the image of 40 x 48"),
        ({"box": [5, 5, 5, 5]}, "empty or reversed"),
        ({"box": [0, 0, 41, 5]}, "reaches outside"),
        ({"box": [0, 0, 4]}, r"box must be \(4,\)"),
        ({"mask_input": np.zeros((1, 7, 7))}, "low-res logits of an earlier call"),
    ],
)
def test_bad_prompts(predictor: ImagePredictor, prompt: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        predictor.predict(**prompt)  # type: ignore[arg-type]


def test_an_image_must_be_set(small_model: SAM2) -> None:
    with pytest.raises(ValueError, match="call set_image"):
        ImagePredictor(small_model).predict(np.array([[1, 1]]), np.array([1]))
    with pytest.raises(ValueError, match="an image is an array"):
        ImagePredictor(small_model).set_image(np.zeros((2, 3, 4, 5)))
