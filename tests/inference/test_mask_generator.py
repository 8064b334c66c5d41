"""Everything in an image: records, labels, masklets; bright discs with the embedded weights."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from sam2_backbone.build import build_sam2
from sam2_backbone.inference.candidates import candidate_from_logits
from sam2_backbone.inference.grid_search import GridSearch, GridSearchSettings
from sam2_backbone.inference.mask_generator import MaskGenerator, labels_of
from sam2_backbone.inference.tile_search import TileSearch, TileSearchSettings
from sam2_backbone.inference.transforms import View
from sam2_backbone.modeling.sam2 import SAM2

KEYS = {
    "segmentation",
    "area",
    "bbox",
    "predicted_iou",
    "point_coords",
    "stability_score",
    "crop_box",
}


@pytest.fixture(scope="session")
def micro() -> SAM2:
    return build_sam2("micro", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def discs() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Twelve bright discs of 20 to 28 pixels on a dark noisy background, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((180, 250), np.int32)
    yy, xx = np.mgrid[:180, :250]
    for number in range(12):
        y, x = 35 + 55 * (number // 4), 35 + 60 * (number % 4)
        labels[np.hypot(yy - y, xx - x) < rng.uniform(10, 14)] = number + 1
    image = ndimage.gaussian_filter(12.0 + 150 * (labels > 0), 1) + rng.normal(0, 3, labels.shape)
    return image.clip(0, 255).astype(np.uint8), labels


def test_records(micro: SAM2, discs: tuple[NDArray[np.uint8], NDArray[np.int32]]) -> None:
    image, labels = discs
    records = MaskGenerator(micro).generate(image)
    found = set()
    for record in records:
        assert record.keys() == KEYS
        mask = record["segmentation"]
        assert (mask.shape, mask.dtype) == (image.shape, np.dtype(bool))
        assert type(record["area"]) is int
        assert record["area"] == mask.sum()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert record["bbox"] == [
            columns[0],
            rows[0],
            columns[-1] + 1 - columns[0],
            rows[-1] + 1 - rows[0],
        ]
        x, y, width, height = record["crop_box"]
        ((px, py),) = record["point_coords"]
        assert x <= px < x + width
        assert y <= py < y + height
        assert 0 < record["predicted_iou"] <= 1
        assert 0 < record["stability_score"] <= 1
        number = np.bincount(labels[mask]).argmax()
        if number:
            both = (labels == number) & mask
            if both.sum() > 0.5 * ((labels == number) | mask).sum():
                found.add(int(number))
    assert len(found) >= 11
    assert len(records) <= 14


def test_noise_alone_has_few_objects(micro: SAM2) -> None:
    noise = np.random.default_rng(1).normal(30, 3, (128, 128)).clip(0, 255).astype(np.uint8)
    assert len(MaskGenerator(micro).generate(noise)) <= 2


def test_the_defaults_are_those_of_published_networks_and_tuned_are_the_networks_own(
    micro: SAM2, discs: tuple[NDArray[np.uint8], NDArray[np.int32]]
) -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(MaskGenerator).parameters.items()
        if name != "model"
    }
    assert defaults == {
        "points_per_side": 32,
        "pred_iou_thresh": 0.8,
        "stability_score_thresh": 0.95,
        "box_nms_thresh": 0.7,
        "crop_n_layers": 0,
        "min_mask_region_area": 0,
    }
    # nothing is replaced behind one's back: what comes is as sure as was asked for
    part = discs[0][:70, :130]
    sure = MaskGenerator(micro).generate(part)
    assert sure
    assert min(record["predicted_iou"] for record in sure) >= 0.8
    assert min(record["stability_score"] for record in sure) >= 0.95
    tuned = MaskGenerator.tuned(micro)
    assert isinstance(tuned._search, TileSearch)
    assert tuned._search.settings == TileSearchSettings()
    assert tuned._search.settings.pred_iou_thresh < 0.8
    grid = build_sam2("sam2.1_hiera_tiny", None, device="cpu", dtype="float32", input_size=128)
    searches = [MaskGenerator.tuned(grid)._search, MaskGenerator(grid)._search]
    assert all(isinstance(search, GridSearch) for search in searches)
    assert searches[0].settings == searches[1].settings == GridSearchSettings()  # type: ignore[union-attr]


def test_thresholds_are_obeyed(
    micro: SAM2, discs: tuple[NDArray[np.uint8], NDArray[np.int32]]
) -> None:
    image, _ = discs
    assert MaskGenerator(micro, pred_iou_thresh=1.0).generate(image) == []
    assert MaskGenerator(micro, stability_score_thresh=1.01).generate(image) == []
    stable = MaskGenerator(micro, stability_score_thresh=0.97).generate(image)
    assert stable
    assert min(record["stability_score"] for record in stable) >= 0.97
    for wrong in ({"points_per_side": 0}, {"crop_n_layers": -1}, {"min_mask_region_area": -1}):
        with pytest.raises(ValueError, match="must"):
            MaskGenerator(micro, **wrong)


def test_masklets_follow_what_is_on_the_first_frame(
    micro: SAM2, discs: tuple[NDArray[np.uint8], NDArray[np.int32]]
) -> None:
    image = discs[0][:90, :130]
    movie = np.stack([np.roll(image, 2 * t, axis=1) for t in range(3)])
    generator = MaskGenerator(micro)
    records = generator.generate(movie[0])
    results = list(generator.generate_masklets(movie))
    assert [result.frame_idx for result in results] == [0, 1, 2]
    assert {result.obj_ids for result in results} == {tuple(range(1, len(records) + 1))}
    first = results[0].mask_logits[:, 0].numpy() > 0
    assert all(
        np.array_equal(mask, record["segmentation"])
        for mask, record in zip(first, records, strict=True)
    )
    overlaps = []
    for mask, record in zip(results[-1].mask_logits[:, 0].numpy() > 0, records, strict=True):
        moved = np.roll(record["segmentation"], 4, axis=1)
        overlaps.append((mask & moved).sum() / (mask | moved).sum())
    assert np.median(overlaps) > 0.6


def test_overlaps_go_to_the_higher_logit() -> None:
    first, second, hidden = (np.full((6, 6), -1, np.float32) for _ in range(3))
    first[:4] = 2
    second[2:, :] = 1
    hidden[0, 0] = 0.5
    found = [
        candidate_from_logits(logits, View(0, 0, 6, 6), iou=1, stability=1, point=(0, 0), worth=1)
        for logits in (hidden, first, second)
    ]
    labels = labels_of([c for c in found if c is not None], (6, 6))
    assert labels.dtype == np.uint16
    assert (labels[:4] == 1).all()
    assert (labels[4:] == 2).all()
    assert labels_of([], (3, 4)).tolist() == np.zeros((3, 4)).tolist()
