"""The command from end to end: a small data folder, a tiny network, the table."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

from napari_sam2.cli import main
from napari_sam2.evaluate_command import PARTS as COMMAND_PARTS
from sam2_backbone.build import build_from_config
from sam2_backbone.checkpoint import save_weights
from sam2_backbone.evaluation.data_sets import find_data_sets, objects_on, read_stack
from sam2_backbone.evaluation.extent import DEFAULT, FULL, QUICK, fixed_choice
from sam2_backbone.evaluation.made_clips import FRAMES, SIDE, SMALLEST_OBJECT, made_clips
from sam2_backbone.evaluation.run import PARTS, evaluation_parts
from sam2_backbone.evaluation.stills import choose_objects
from sam2_backbone.evaluation.targets import AP, CLICK_1, GAIN, J_MASK
from sam2_backbone.training.data import LabelledSequence, object_boxes
from sam2_backbone.variants import TEST_CONFIG


def scene(seed: int, size: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """A dark field with three bright squares, and their labels."""
    labels = np.zeros((size, size), dtype=np.uint8)
    for index, (y, x) in enumerate([(8, 8), (40, 12), (30, 44)], start=1):
        labels[y + seed % 4 : y + 18 + seed % 4, x : x + 18] = index
    noise = np.random.default_rng(seed).normal(0, 5, labels.shape)
    return np.clip(40 + 120 * (labels > 0) + noise, 0, 255).astype(np.uint8), labels


def write_pair(folder: Path, name: str, seed: int) -> None:
    for part, array in zip(("images", "masks"), scene(seed), strict=True):
        (folder / part).mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / part / f"{name}.png", array)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of stills with parts, a video, a stack of three slices, and a network."""
    root = tmp_path_factory.mktemp("data")
    for index in range(3):
        write_pair(root / "nuclei" / "dev", f"cell{index}", index)
    write_pair(root / "nuclei" / "train", "not_this", 9)
    kinds = "id,modality\ncell0,fluorescence\ncell1,fluorescence\ncell2,phase\n"
    (root / "nuclei" / "dev" / "index.csv").write_text(kinds, encoding="utf-8")
    for index in range(3):
        write_pair(root / "films" / "walk", f"{index:05}", index)
    (root / "stacks").mkdir()
    frames, labels = (np.stack(part) for part in zip(*map(scene, range(3)), strict=True))
    tifffile.imwrite(root / "stacks" / "squares_images.tif", frames)
    tifffile.imwrite(root / "stacks" / "squares_masks.tif", labels)
    torch.manual_seed(0)
    save_weights(build_from_config(TEST_CONFIG), root / "tiny.safetensors")
    return root


def test_the_command_and_the_evaluation_know_the_same_parts() -> None:
    assert COMMAND_PARTS == PARTS


def test_data_sets_are_found(data: Path) -> None:
    sets = {each.name: each.sequences for each in find_data_sets(data)}
    assert {name: len(rows) for name, rows in sets.items()} == {"films": 1, "nuclei/dev": 3}
    assert sets["films"][0].num_frames == 3
    (alone,) = find_data_sets(data / "nuclei")
    assert alone.name == "nuclei/dev"
    with pytest.raises(ValueError, match="not a folder"):
        find_data_sets(data / "nowhere")


def test_a_stack_starts_where_its_objects_are(data: Path) -> None:
    movie = read_stack(data, "squares", objects=2)
    assert movie.frames.shape == (3, 72, 72)
    assert len(movie.obj_ids) == 2
    assert set(movie.obj_ids) <= {1, 2, 3}


def test_objects_are_chosen_by_size_and_wish() -> None:
    labels = np.repeat([0, 1, 2, 3, 4], [50, 5, 20, 20, 20])[None]
    assert objects_on(labels, 10, None) == (2, 3, 4)
    for wish in (2, 3, 4):
        assert objects_on(labels, 10, 1, first=(wish,)) == (wish,)
    assert 1 not in objects_on(labels, 10, 2, first=(1,))


def test_extents_nest_and_reach_the_asked_number(data: Path) -> None:
    assert set(fixed_choice(100, 10)) < set(fixed_choice(100, 30))
    assert fixed_choice(5, None) == [0, 1, 2, 3, 4]
    assert QUICK.objects_of(0, images=7) == 9  # 60 objects of seven images
    assert DEFAULT.objects_of(0, images=107) == 2
    assert DEFAULT.objects_of(5, images=107) == 5
    assert FULL.objects_of(0, images=107) is None
    (nuclei,) = (each for each in find_data_sets(data) if each.name == "nuclei/dev")
    chosen = choose_objects(nuclei.sequences, DEFAULT, objects=2)
    assert [len(item.obj_ids) for item in chosen] == [2, 2, 2]
    assert chosen == choose_objects(nuclei.sequences, DEFAULT, objects=2)


def test_made_clips_are_the_same_each_time(data: Path) -> None:
    (nuclei,) = (each for each in find_data_sets(data) if each.name == "nuclei/dev")
    first, second = made_clips(nuclei.sequences, 2)
    (again,) = made_clips(nuclei.sequences, 1)
    assert (first.kind, second.kind) == ("fluorescence", "phase")
    assert first.frames.shape == (FRAMES, SIDE, SIDE, 3)
    assert first.obj_ids
    assert all((first.labels[0] == obj_id).sum() >= 100 for obj_id in first.obj_ids)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert not np.array_equal(first.labels, second.labels)


def test_made_clips_follow_no_slivers() -> None:
    labels = np.zeros((240, 240), np.uint16)
    labels[20:60, 20:60], labels[20:22, 80:220] = 1, 2
    labels[150:190, 40:80], labels[200:202, 20:220] = 3, 4
    frames = np.where(labels > 0, 200, 60).astype(np.uint8)[None, ..., None]
    boxes = (object_boxes(labels),)
    still = LabelledSequence("bars", "made", frames, labels[None], True, boxes)
    shown = 0
    for movie in made_clips([still], 6):
        assert set(movie.obj_ids) <= {1, 3}, "the bars are large enough, but thin"
        shown += any((movie.labels[0] == bar).sum() >= SMALLEST_OBJECT for bar in (2, 4))
    assert shown > 1


def test_the_table_of_a_small_folder(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    arguments = ["evaluate", str(data), "--weights", str(data / "tiny.safetensors"), "--debug"]
    arguments += [
        "--objects",
        "2",
        "--only",
        "clicks,stacks,videos,automatic",
        "--dtype",
        "float32",
    ]
    assert main([*arguments, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    read = json.loads(out.read_text(encoding="utf-8"))
    assert read["facts"]["input_size"] == 64
    assert read["facts"]["weights"].startswith("tiny.safetensors ")
    found = {(each["measure"], each["data"]): each for each in read["rows"]}
    assert {name for _, name in found} == {
        "nuclei/dev", "nuclei/dev: fluorescence", "nuclei/dev: phase", "squares", "films",
    }  # fmt: skip
    click = found[CLICK_1, "nuclei/dev"]
    assert click["objects"] == 6
    assert found[CLICK_1, "nuclei/dev: phase"]["objects"] == 2
    assert click["baselines"][0]["value"] > 0.8  # bright squares on dark ground
    gain = found[GAIN, "nuclei/dev"]
    assert gain["value"] == pytest.approx(click["value"] - click["baselines"][0]["value"])
    assert gain["met"] is False  # random weights
    assert found[J_MASK, "squares"]["objects"] == 3
    assert found[J_MASK, "squares"]["baselines"][0]["value"] > 0.6
    assert f"{click['value']:.3f}" in said
    automatic = found[AP, "nuclei/dev: fluorescence"]
    assert automatic["objects"] == 6  # all of two images
    assert automatic["baselines"][0]["value"] > 0.9
    arguments.remove("--debug")
    assert main([*arguments, "-o", str(out)]) == 2
    assert json.loads(out.read_text(encoding="utf-8")) == read  # kept


def test_wrong_use(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--only", "guesses"], ["-o", "table.txt"], ["--objects", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", str(data), *wrong])
        assert stopped.value.code == 2
    capsys.readouterr()
    weights = ["--weights", str(data / "tiny.safetensors")]
    assert main(["evaluate", str(tmp_path), *weights]) == 1
    said = capsys.readouterr()
    assert "holds nothing to evaluate" in said.err
    assert not said.out
    assert main(["evaluate", str(data / "nuclei"), *weights, "--only", "videos"]) == 1
    assert "nothing for these parts: videos" in capsys.readouterr().err


def test_an_unknown_part_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match="no part 'guesses'"):
        next(evaluation_parts(data, None, only=["guesses"]))  # type: ignore[arg-type]
