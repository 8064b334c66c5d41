from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from sam2_backbone.evaluation.data_sets import find_data_sets
from sam2_backbone.training.data import (
    MIRRORED,
    CropDrawer,
    LabelledSequence,
    areas_beyond,
    object_boxes,
    output_grid,
    read_labels,
    read_tree,
)
from sam2_backbone.training.looks import NOISIEST, add_noise
from sam2_backbone.training.synthetic import ClipMaker, MotionRange, fill_objects


def discs(seed: int = 0, side: int = 120, channels: int = 1) -> LabelledSequence:
    """A still with nine bright discs on a dark ground."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), dtype=np.uint16)
    y, x = np.mgrid[:side, :side]
    for index in range(9):
        cy, cx = (np.array(divmod(index, 3)) + 0.5) * side / 3
        labels[np.hypot(y - cy, x - cx) < rng.uniform(9, 14)] = index + 1
    image = 30 + 150 * (labels > 0) + rng.normal(0, 4, labels.shape)
    frames = np.repeat(image.clip(0, 255).astype(np.uint8)[None, ..., None], channels, -1)
    return LabelledSequence("discs", "made", frames, labels[None], True, (object_boxes(labels),))


def write_still(folder: Path, stem: str, still: LabelledSequence) -> None:
    for name, pixels in (("images", still.frames[0, ..., 0]), ("masks", still.labels[0])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / name / f"{stem}.png", pixels)


def test_a_tree_is_read_by_split_and_numbers_make_a_video(tmp_path: Path) -> None:
    write_still(tmp_path / "cells" / "train", "a", discs(0))
    write_still(tmp_path / "cells" / "train", "b", discs(1))
    write_still(tmp_path / "cells" / "dev", "c", discs(2))
    for frame in range(4):
        write_still(tmp_path / "films" / "train" / "walk", f"{frame:05d}", discs(frame))
    train = read_tree(tmp_path)
    assert sorted((s.name, s.num_frames) for s in train) == [("a", 1), ("b", 1), ("walk", 4)]
    assert {s.kind for s in train} == {"cells", "films"}
    assert [s.name for s in read_tree(tmp_path, split="dev")] == ["c"]


def test_a_plain_pair_of_folders_is_enough(tmp_path: Path) -> None:
    write_still(tmp_path / "mine", "a", discs(0))
    assert [s.name for s in read_tree(tmp_path / "mine")] == ["a"]


def test_folders_above_the_data_say_nothing_of_splits(tmp_path: Path) -> None:
    above = tmp_path / "dev" / "data"
    write_still(above / "cells" / "train", "a", discs(0))
    write_still(above / "cells" / "dev", "b", discs(1))
    write_still(above / "plain", "c", discs(2))
    assert [s.name for s in read_tree(above / "cells")] == ["a"]
    assert [s.name for s in read_tree(above / "cells", split="dev")] == ["b"]
    assert [s.name for s in read_tree(above / "cells" / "dev", split="dev")] == ["b"]
    assert [s.name for s in read_tree(above / "plain")] == ["c"]
    found = find_data_sets(above)
    assert [(data.name, data.sequences[0].name) for data in found] == [
        ("cells/dev", "b"),
        ("plain", "c"),
    ]


def test_frames_of_a_video_follow_their_numbers_and_share_one_mapping(tmp_path: Path) -> None:
    for frame in (1, 2, 10):
        for folder in ("images", "masks"):
            (tmp_path / "film" / folder).mkdir(parents=True, exist_ok=True)
        pixels = np.full((16, 16), 1000 * frame, np.uint16)
        pixels[0] = 0
        iio.imwrite(tmp_path / "film" / "images" / f"{frame}.tif", pixels)
        iio.imwrite(tmp_path / "film" / "masks" / f"{frame}.tif", np.full((16, 16), frame, "u2"))
    (film,) = read_tree(tmp_path / "film")
    assert film.labels[:, 5, 5].tolist() == [1, 2, 10]
    # it bleaches or grows as it did: no frame is stretched by itself
    np.testing.assert_allclose(film.frames[:, 5, 5, 0], [25, 51, 255], atol=1)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_still(tmp_path / "mine", "a", discs(0))
    iio.imwrite(tmp_path / "mine" / "masks" / "a.tif", np.full((8, 8), 65536, np.int32))
    (tmp_path / "mine" / "masks" / "a.png").unlink()
    with pytest.raises(ValueError, match="above 65535"):
        read_tree(tmp_path / "mine")


def test_nothing_to_read_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images/ and masks/"):
        read_tree(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        read_tree(tmp_path / "nowhere")


def test_crops_show_their_object_and_depend_on_the_seed_alone() -> None:
    drawer = CropDrawer([discs(), discs(1, channels=3)], size=64)
    shown = 0
    for seed in range(20):
        crop = drawer.draw(np.random.default_rng(seed))
        again = drawer.draw(np.random.default_rng(seed))
        assert torch.equal(crop.image, again.image)
        assert torch.equal(crop.labels, again.labels)
        assert crop.image.shape == (3, 64, 64)
        assert crop.labels.shape == (64, 64)
        assert crop.complete
        assert float(crop.image.min()) >= 0
        assert float(crop.image.max()) <= 1
        shown += int((crop.labels == crop.obj_id).any())
    assert shown >= 19


def test_a_crop_knows_how_much_of_a_cut_object_it_does_not_show() -> None:
    still = discs()
    whole = {obj_id: int((still.labels == obj_id).sum()) for obj_id in range(1, 10)}
    side = 30  # pixels of the frame, upright, a third of a pixel each; disc 5 is at 60, 60

    def cut(left: float, top: float) -> dict[int, float]:
        coords = (output_grid(90) + 0.5) * side + torch.tensor([left, top]) - 0.5
        labels = read_labels(torch.from_numpy(still.labels[0].astype(np.float32)), coords)
        return areas_beyond(labels, coords, still, 0)

    assert cut(45, 45) == {}
    assert cut(60, 45)[5] == pytest.approx(9 * whole[5] / 2, rel=0.08)  # half
    # a whole object that touches the border lacks nothing
    rows = np.nonzero(still.labels[0] == 5)[0]
    assert cut(45, float(rows.min()))[5] == pytest.approx(0, abs=2)


def test_favoured_kinds_are_drawn_more_often() -> None:
    a, b = discs(0), replace(discs(1), kind="rare")
    rng = np.random.default_rng(0)
    shares = []
    for favoured in ((), (("rare", 4.0),)):
        drawer = CropDrawer([a, b], size=64, favoured=favoured)
        shares.append(np.mean([drawer.choose(rng)[0].kind == "rare" for _ in range(400)]))
    assert shares[0] == pytest.approx(0.5, abs=0.08)
    assert shares[1] == pytest.approx(0.8, abs=0.08)


def test_image_and_labels_stay_together() -> None:
    drawer = CropDrawer([discs()], size=64)
    rng = np.random.default_rng(3)
    for _ in range(10):
        sequence, frame_idx = drawer.choose(rng)
        coords, obj_id = drawer.place(rng, sequence, frame_idx)
        source = drawer.source(sequence, frame_idx, coords, obj_id)
        from sam2_backbone.training.data import read_pixels

        image = read_pixels(source.image, source.coords, mode="bilinear")[0]
        labels = read_pixels(source.labels[None], source.coords, mode="nearest")[0]
        assert float(((image > 0.4) == (labels > 0)).float().mean()) > 0.97


def test_clips_keep_identities_and_seeds() -> None:
    maker = ClipMaker(CropDrawer([discs()], size=64))
    for seed in range(6):
        clip = maker.draw(np.random.default_rng(seed), 5)
        again = maker.draw(np.random.default_rng(seed), 5)
        assert torch.equal(clip.images, again.images)
        assert clip.images.shape == (5, 3, 64, 64)
        assert clip.labels.shape == (5, 64, 64)
        first, last = set(clip.labels[0].unique().tolist()), clip.labels[-1]
        assert len(first & set(last.unique().tolist())) >= 1


def test_a_mirror_image_is_another_object_unless_it_touches_its_own() -> None:
    labels = torch.zeros(40, 40)
    labels[10:20, 4:12] = 3  # its image begins eight pixels from it
    labels[25:35, :6] = 5  # at the border: its image touches it
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(-20.0, 20.0), indexing="ij")
    read = read_labels(labels, torch.stack((x, y), -1))
    assert read[15, 28] == 3
    assert read[15, 11] == 3 + MIRRORED
    assert read[30, 22] == 5
    assert read[30, 17] == 5
    assert set(read.unique().tolist()) == {0, 3, 5, 3 + MIRRORED}


def test_cells_leave_in_made_clips() -> None:
    maker = ClipMaker(CropDrawer([discs()], size=64))
    gone = 0
    for seed in range(30):
        labels = maker.draw(np.random.default_rng(seed), 5).labels
        gone += sum(not (labels[3] == i).any() for i in labels[0].unique().tolist() if i > 0)
    assert gone > 3


def test_clips_of_videos_are_real_frames() -> None:
    stills = [discs(i) for i in range(8)]
    video = LabelledSequence(
        "film",
        "films",
        np.concatenate([s.frames for s in stills]),
        np.concatenate([s.labels for s in stills]),
        False,
        tuple(s.boxes[0] for s in stills),
    )
    clip = ClipMaker(CropDrawer([video], size=64)).draw(np.random.default_rng(0), 3)
    assert clip.labels.shape == (3, 64, 64)
    assert not clip.complete


def test_painting_over_a_cell_leaves_its_neighbours_rim() -> None:
    image = torch.full((1, 40, 40), 0.1)
    mask, objects = torch.zeros(2, 40, 40, dtype=torch.bool)
    mask[10:30, 5:20] = True
    objects[10:30, 5:35] = True
    image[:, objects] = 0.9
    painted = fill_objects(image, mask, objects)
    assert float(painted[:, mask].max()) < 0.3, "background, not the neighbour's brightness"
    assert torch.equal(painted[:, objects & ~mask], image[:, objects & ~mask])


def test_cells_fade_for_good() -> None:
    motion = MotionRange(leave=0, fade=1, max_sprites=1)
    maker = ClipMaker(CropDrawer([discs()], size=64), motion)
    gone = 0
    for seed in range(20):
        labels = maker.draw(np.random.default_rng(seed), 8).labels
        ids = [i for i in labels[0].unique().tolist() if i > 0]
        seen = torch.stack([(labels == i).any(2).any(1) for i in ids])
        came_back = seen[:, 1:] & ~seen[:, :-1]
        gone += int((~seen[:, -1]).any())
        assert not came_back.any() or not (~seen[:, -1]).any()
    assert gone >= 3


def test_painting_over_objects_leaves_background() -> None:
    still = discs()
    image = torch.from_numpy(still.frames[0]).permute(2, 0, 1).float() / 255
    mask = torch.from_numpy(still.labels[0].astype(np.int64)) == 5
    painted = fill_objects(image, mask, torch.from_numpy(still.labels[0].astype(np.int64)) > 0)
    ground = float(image[0][torch.from_numpy(still.labels[0] == 0)].mean())
    assert abs(float(painted[0][mask].mean()) - ground) < 0.05
    assert torch.equal(painted[0][:20], image[0][:20])


def test_plain_crops_look_as_the_image_does() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[12:28, 12:28] = 1
    image = np.where(labels > 0, 200, 100).astype(np.uint8)
    boxes = (object_boxes(labels),)
    still = LabelledSequence("a", "made", image[None, ..., None], labels[None], True, boxes)
    rng = np.random.default_rng(0)

    def extremes(plain_share: float) -> set[tuple[int, int]]:
        drawer = CropDrawer([still], size=32, plain_share=plain_share)
        crops = [(drawer.draw(rng).image * 255).round().int() for _ in range(12)]
        return {(int(crop.min()), int(crop.max())) for crop in crops}

    assert extremes(1.0) == {(100, 200)}
    assert len(extremes(0.0)) > 6


def test_noise_does_not_drown_a_faint_picture_and_has_a_grain() -> None:
    faint = torch.full((1, 96, 96), 0.5)
    faint[:, 24:72, 24:72] = 0.6
    for deviation in (0.004, 0.3):
        noisy = add_noise(faint, torch.full_like(faint, deviation), np.random.default_rng(0))
        expected = min(deviation, NOISIEST * 0.1)
        assert float((noisy - faint).std()) == pytest.approx(expected, rel=0.05)
    fine, coarse = (
        add_noise(faint, torch.full_like(faint, 0.01), np.random.default_rng(0), grain) - faint
        for grain in (1.0, 4.0)
    )
    assert _neighbours_alike(fine) < 0.1 < 0.7 < _neighbours_alike(coarse)


def _neighbours_alike(noise: torch.Tensor) -> float:
    pairs = torch.stack((noise[..., 1:].flatten(), noise[..., :-1].flatten()))
    return float(torch.corrcoef(pairs)[0, 1])


def test_grains_are_drawn_only_where_they_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert CropDrawer([discs()], size=32).draw_look(rng).grain == 1
    drawer = CropDrawer([discs()], size=32, coarsest_grain=4.0)
    grains = [drawer.draw_look(rng).grain for _ in range(40)]
    assert 1 <= min(grains) < 1.5 < 3 < max(grains) <= 4


def test_crops_show_at_least_their_smallest_side() -> None:
    drawer = CropDrawer([discs()], size=32, zoom=(1.0, 1.0), smallest_side=80.0)
    coords, _ = drawer.place(np.random.default_rng(0), drawer.sequences[0], 0)
    assert float(coords[0, -1, :].sub(coords[0, 0]).norm()) > 0.8 * 80


def test_cells_that_meet_do_not_leap() -> None:
    still = MotionRange(drift=0, turn=0, grow=0, deform=0, jitter=0, spin=0, swell=0)
    motion = replace(still, sprite_step=0.02, max_sprites=1, leave=0, divide=0, fade=0, meet=1)
    maker = ClipMaker(CropDrawer([discs()], size=96, zoom=(6.0, 6.0)), motion)
    farthest, moved = 0.0, 0
    for seed in range(12):
        labels = maker.draw(np.random.default_rng(seed), 12).labels
        inner = set(labels[0].unique().tolist()) & set(labels[-1].unique().tolist()) - {0}
        for obj_id in inner:
            middles = [torch.nonzero(frame == obj_id).float().mean(0) for frame in labels]
            steps = [float((b - a).norm()) for a, b in pairwise(middles)]
            farthest = max(farthest, *steps)
            moved += max(steps) > 1
    assert moved > 5
    assert farthest < 8, "four steps of 0.02 half sides are 3.8 pixels; neighbours are 30 away"
