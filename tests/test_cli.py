"""The command line as a person meets it, with a predictor that draws discs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fakes import FakePredictor, moving_discs
from napari_sam2.cli import main
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.session import Session

MOVIE = moving_discs()
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in a folder with an image and a movie; returns status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelHub, "predictor", lambda self, settings: FakePredictor(settings))
    tifffile.imwrite("cell.tif", MOVIE[0])
    tifffile.imwrite("movie.tif", MOVIE)
    labels = np.zeros(MOVIE.shape[1:], np.uint8)
    labels[8:16, 8:16] = 5
    tifffile.imwrite("labels.tif", labels)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def assert_refused(done: tuple[int, str, str], status: int, said: str) -> None:
    assert done[0] == status
    assert said in done[2]
    assert "Traceback" not in done[2]
    if not done[2].startswith("usage"):
        assert done[2].startswith("napari-sam2: ")
        assert done[2].count("\n") == 1


def test_help_lists_only_what_there_is(command: Command) -> None:
    status, out, _ = command("--help")
    assert status == 0
    for name in (
        *("demo", "segment", "everything", "track", "replay"),
        *("evaluate", "train", "models", "doctor"),
    ):
        assert f"    {name}" in out
        assert command(name, "--help")[0] == 0
    assert command("--version")[0] == 0


def test_numbers_may_begin_with_a_minus(command: Command) -> None:
    point = ("--point", "-0.3,10")
    done = command("segment", "cell.tif", *point, "--range", "-1000,400", "-o", "out.tif")
    assert done[0] == 0, done[2]
    assert_refused(command("segment", "cell.tif", "--point", "-3,10"), 1, "outside")


def test_labels_with_a_palette_are_numbers(command: Command) -> None:
    labels = np.zeros(MOVIE.shape[1:], np.uint8)
    labels[8:16, 8:16] = 5
    image = Image.fromarray(labels, mode="P")
    image.putpalette([n % 256 for n in range(768)])
    image.save("palette.png")
    status, out, err = command("track", "movie.tif", "--labels", "palette.png", "-o", "out.tif")
    assert (status, err) == (0, "")
    assert "Object 5" in out


def test_segment_points(command: Command) -> None:
    status, out, err = command("segment", "cell.tif", "--point", "40,10", "-o", "out.tif")
    assert (status, err) == (0, "")
    assert "Object 1" in out
    assert "wrote out.tif" in out
    labels = tifffile.imread("out.tif")
    assert labels.shape == (48, 64)
    assert labels[10, 40] == 1


def test_segment_several_objects(command: Command) -> None:
    said = ["--point", "12,12", "--negative", "16,12", "--and", "--box", "30,20,60,40"]
    assert command("segment", "cell.tif", *said)[0] == 0
    labels = tifffile.imread("cell_labels.tif")
    assert labels[12, 7] == 1
    assert labels[12, 16] == 0
    np.testing.assert_array_equal(labels[20:40, 30:60], 2)


def test_segment_a_prompt_file(command: Command) -> None:
    rows = [{"frame_idx": 0, "obj_id": 7, "points": [[40, 10]], "point_labels": [1]}]
    Path("prompts.json").write_text(json.dumps(rows))
    assert command("segment", "cell.tif", "--prompts", "prompts.json", "-o", "a.zarr")[0] == 0
    assert zarr.open("a.zarr")[10, 40] == 7


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_track_labels(command: Command, name: str) -> None:
    status, out, err = command("track", "movie.tif", "--labels", "labels.tif", "-o", name)
    assert (status, err) == (0, "")
    assert "Object 5: on 8 of 8 frames" in out
    labels = tifffile.imread(name) if name.endswith("tif") else zarr.open(name)[:]
    assert labels.shape == MOVIE.shape
    np.testing.assert_array_equal(labels[0], tifffile.imread("labels.tif"))
    assert (labels[7] == 5).any()


def test_track_labels_of_another_frame(command: Command) -> None:
    done = command("track", "movie.tif", "--labels", "labels.tif", "--frame", "3")
    assert done[0] == 0
    np.testing.assert_array_equal(
        tifffile.imread("movie_tracked.tif")[3], tifffile.imread("labels.tif")
    )


def test_track_a_movie_of_labels(command: Command) -> None:
    labels = np.zeros(MOVIE.shape, np.uint16)
    labels[2, 8:16, 8:16] = 1
    labels[5, 20:30, 30:40] = 2
    tifffile.imwrite("many.tif", labels)
    assert command("track", "movie.tif", "--labels", "many.tif")[0] == 0
    tracked = tifffile.imread("movie_tracked.tif")
    assert set(np.unique(tracked)) == {0, 1, 2}
    assert (
        command("track", "movie.tif", "--labels", "many.tif", "--frame", "2", "-o", "b.tif")[0] == 0
    )
    assert set(np.unique(tifffile.imread("b.tif"))) == {0, 1}


def test_replay(command: Command) -> None:
    session = Session("movie.tif", predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    session.save("work.json")
    assert command("replay", "work.json")[0] == 0
    replayed = tifffile.imread("work_labels.tif")
    np.testing.assert_array_equal(replayed[7], session.labels(7))


@pytest.mark.parametrize(
    ("name", "made", "inside"),
    [
        ("ctc", "movie_RES", "res_track.txt"),
        ("geff", "movie.geff", ".zattrs"),
        ("coco", "movie_coco.json", ""),
        ("sav", "movie_manual.json", ""),
        ("sav-folders", "movie_sav", "Annotations_6fps/movie/005/00007.png"),
        ("trackmate", "movie_trackmate.xml", ""),
        ("movie", "movie_overlay.mp4", ""),
    ],
)
def test_track_for_other_programs(command: Command, name: str, made: str, inside: str) -> None:
    said = ("track", "movie.tif", "--labels", "labels.tif", "--format", name)
    status, out, err = command(*said)
    assert (status, err) == (0, "")
    assert f"wrote {made}" in out
    assert (Path(made) / inside).is_file()
    assert_refused(command(*said), 2, f"{made} exists already: give --overwrite")
    assert command(*said, "--overwrite")[0] == 0


def test_replay_for_other_programs(command: Command) -> None:
    session = Session("movie.tif", predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    session.save("work.json")
    assert command("replay", "work.json", "--format", "ctc", "-o", "01_RES")[0] == 0
    labels = tifffile.imread("01_RES/mask007.tif")
    np.testing.assert_array_equal(labels, session.labels(7))
    assert Path("01_RES/res_track.txt").read_text() == "1 0 7 0\n"
    before = Path("work.json").read_bytes()
    for options in (["--overwrite"], []):
        done = command("replay", "work.json", "--format", "coco", "-o", "work.json", *options)
        assert_refused(done, 2, "give another -o")
    assert Path("work.json").read_bytes() == before
    wrong = command("replay", "work.json", "--format", "coco", "-o", "out.tif")
    assert_refused(wrong, 2, "COCO: name a file that ends in .json.")
    Path("sav").mkdir()
    wrong = command("replay", "work.json", "--format", "sav-folders", "-o", "sav", "--overwrite")
    assert_refused(wrong, 2, "is not replaced")


def test_movies_look_as_they_are_asked_to(command: Command) -> None:
    said = ("track", "movie.tif", "--labels", "labels.tif", "--format", "movie", "-o", "a.tif")
    assert command(*said)[0] == 0
    plain = tifffile.imread("a.tif")
    assert command(*said, "--overwrite", "--fill", "--fps", "4")[0] == 0
    with tifffile.TiffFile("a.tif") as file:
        assert file.shaped_metadata[0]["fps"] == 4
        assert (file.asarray() != plain).any()


def test_movies_need_what_is_not_installed(command: Command, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    said = ("track", "movie.tif", "--labels", "labels.tif", "--format", "movie")
    # before anything is tracked
    assert_refused(command(*said), 1, "needs PyAV: pip install 'napari-sam2[video]'")
    assert command(*said, "-o", "a.tif")[0] == 0


def test_an_output_is_kept_unless_overwritten(command: Command) -> None:
    Path("out.tif").write_text("mine")
    said = ("segment", "cell.tif", "--point", "40,10", "-o", "out.tif")
    assert_refused(command(*said), 2, "out.tif exists already: give --overwrite")
    assert Path("out.tif").read_text() == "mine"
    assert command(*said, "--overwrite")[0] == 0
    assert tifffile.imread("out.tif").any()
    Path("raw.zarr").mkdir()
    refused = command(*said[:-1], "raw.zarr", "--overwrite")
    assert_refused(refused, 2, "does not hold labels of napari-sam2")
    assert Path("raw.zarr").is_dir()
    before = Path("cell.tif").read_bytes()
    assert_refused(command(*said[:-1], "cell.tif", "--overwrite"), 2, "give another -o")
    assert Path("cell.tif").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "COMMAND"),
        (["fly"], 2, "invalid choice"),
        (["segment"], 2, "IMAGE"),
        (["segment", "cell.tif"], 2, "say what to segment"),
        (["segment", "cell.tif", "--point", "1"], 2, "expected X,Y"),
        (["segment", "cell.tif", "--box", "1,2,3,x"], 2, "expected X0,Y0,X1,Y1"),
        (["segment", "cell.tif", "--and"], 2, "give the one before it"),
        (["segment", "cell.tif", "--point", "1,1", "--and"], 2, "begins another object"),
        (["segment", "cell.tif", "--box", "1,1,2,2", "--box", "1,1,2,2"], 2, "one --box"),
        (["segment", "cell.tif", "--point", "1,1", "-o", "a.png"], 2, ".tif or .zarr"),
        (["segment", "cell.tif", "--point", "1,1", "--variant", "sam3"], 2, "invalid choice"),
        (["segment", "cell.tif", "--point", "1,1", "--window", "-3"], 2, "expected"),
        (["segment", "cell.tif", "--point", "1,1", "--device", "gpu"], 2, "expected auto, cpu"),
        (["segment", "cell.tif", "--point", "1,1", "--dtype", "int8"], 2, "invalid choice"),
        (["everything", "cell.tif", "--window", "64"], 2, "--window"),
        (["segment", "cell.tif", "--point", "1,1", "--format", "ctc"], 2, "--format"),
        (["track", "movie.tif", "--labels", "labels.tif", "--format", "xml"], 2, "invalid choice"),
        (["track", "movie.tif", "--labels", "labels.tif", "--fps", "5"], 2, "--format movie"),
        (["replay", "work.json", "--format", "ctc", "--fill"], 2, "--format movie"),
        (["replay", "work.json", "--format", "movie", "--fps", "0"], 2, "0.1 to 240"),
        (["train", ".", "--out", "run", "--minutes", "0"], 2, "above 0"),
        (["train", ".", "--out", "run", "--rate", "3"], 2, "between 0 and 1"),
        (["train", ".", "--out", "run", "--favour", "nuclei"], 2, "KIND=FACTOR"),
        (["train", ".", "--out", "run", "--plain", "1.5"], 2, "from 0 to 1"),
        (["train", ".", "--out", "run", "--dice", "-1"], 2, "from 0 on"),
        (["train", ".", "--out", "run", "--device", "gpu"], 2, "expected auto, cpu"),
        (["models", "--out", "cell.tif"], 2, "exists already"),
        (["segment", "cell.tif", "--point", "64,1"], 1, "outside the image"),
        (["segment", "cell.tif", "--box", "5,5,5,9"], 1, "empty or reversed"),
        (["segment", "cell.tif", "--box", "9,9,5,5"], 1, "empty or reversed"),
        (["segment", "movie.tif", "--point", "1,1"], 1, "movie of 8 frames"),
        (["segment", "none.tif", "--point", "1,1"], 1, "There is no image at none.tif"),
        (["segment", "broken.tif", "--point", "1,1"], 1, "cannot be read"),
        (["segment", "notes.txt", "--point", "1,1"], 1, "convert it"),
        (["segment", "empty.npy", "--point", "1,1"], 1, "is empty"),
        (["segment", "complex.npy", "--point", "1,1"], 1, "complex numbers"),
        (["segment", "five.npy", "--point", "1,1"], 1, "5 in"),
        (["segment", "one.npy", "--point", "1,1"], 1, "1 in"),
        (["segment", "cell.tif", "--prompts", "none.json"], 1, "no file none.json"),
        (["segment", "cell.tif", "--prompts", "notes.txt"], 1, "not valid JSON"),
        (["track", "movie.tif"], 2, "--prompts"),
        (["track", "movie.tif", "--prompts", "a", "--labels", "b"], 2, "not allowed with"),
        (["track", "movie.tif", "--prompts", "a.json", "--frame", "1"], 2, "--frame belongs"),
        (["track", "movie.tif", "--labels", "small.npy"], 1, "the shape (5, 5)"),
        (["track", "movie.tif", "--labels", "labels.tif", "--frame", "8"], 1, "no frame 8"),
        (["track", "cell.tif", "--labels", "labels.tif"], 1, "three axes"),
        (["track", "zero.npy", "--labels", "labels.tif"], 1, "is empty"),
        (["replay", "notes.txt"], 1, "not valid JSON"),
        (["replay", "none.json"], 1, "no file"),
        (["models", "--download", "sam3"], 2, "invalid choice"),
        (["demo", "--out", "cell.tif"], 2, "is a file"),
    ],
)
def test_wrong_use_and_bad_input(
    command: Command, arguments: Sequence[str], status: int, said: str
) -> None:
    Path("broken.tif").write_bytes(b"II*\0 and no more")
    Path("notes.txt").write_text("cells look fine")
    np.save("empty.npy", np.zeros((0, 5)))
    np.save("zero.npy", np.zeros((0, 5, 5)))
    np.save("complex.npy", np.zeros((5, 5), complex))
    np.save("five.npy", np.zeros((1, 1, 1, 1, 1)))
    np.save("one.npy", np.zeros(4))
    np.save("small.npy", np.ones((5, 5), int))
    before = sorted(path.name for path in Path().iterdir())
    assert_refused(command(*arguments), status, said)
    assert sorted(path.name for path in Path().iterdir()) == before


def test_a_full_disk(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device", "out.tif")

    monkeypatch.setattr(tifffile, "imwrite", full)
    done = command("segment", "cell.tif", "--point", "1,1", "-o", "out.tif")
    assert_refused(done, 1, "out.tif: No space left on device.")
    assert not list(Path().glob("*out*"))


def test_an_unexpected_error_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ModelHub, settings: object) -> None:
        raise RuntimeError("kernel\nexploded")

    monkeypatch.setattr(ModelHub, "predictor", fail)
    said = ("segment", "cell.tif", "--point", "1,1")
    assert_refused(command(*said), 1, "unexpected RuntimeError: kernel exploded (--debug")
    with pytest.raises(RuntimeError):
        main([*said, "--debug"])


def test_stopped_by_hand(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: ModelHub, settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelHub, "predictor", stop)
    assert_refused(command("segment", "cell.tif", "--point", "1,1"), 130, "stopped")


def test_no_network(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from sam2_backbone import download as downloading
    from sam2_backbone import variants

    row = variants.VARIANTS["sam2_hiera_tiny"]
    away = dataclasses.replace(row.weights, url="http://127.0.0.1:9/sam2_hiera_tiny.pt")
    monkeypatch.setattr(
        variants,
        "VARIANTS",
        {**variants.VARIANTS, row.name: dataclasses.replace(row, weights=away)},
    )
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    done = command("models", "--download", "sam2_hiera_tiny")
    assert_refused(done, 1, "127.0.0.1")


def test_models(command: Command) -> None:
    status, out, _ = command("models")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "embedded" in lines["micro"]
    assert "Apache-2.0" in lines["sam2.1_hiera_large"]
    assert "not here" in lines["sam2.1_hiera_large"]
    assert "nothing to download" in command("models", "--download", "micro")[1]


def test_facts_of_one_network_go_to_a_file_too(command: Command) -> None:
    status, out, _ = command("models", "--variant", "micro", "--device", "cpu", "-o", "models.txt")
    assert status == 0
    assert "micro" in out
    assert "sam2" not in out
    assert "chosen: cpu, as asked for" in out
    assert out == Path("models.txt").read_text() + "wrote models.txt\n"


def test_doctor(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sam2 import doctor

    monkeypatch.setattr(doctor, "_window", lambda: iter(["Window:"]))
    status, out, _ = command("doctor", "--variant", "micro", "--out", "doctor.txt")
    assert status == 0
    for line in ("Python 3", "torch", "Devices: cpu", "embedded, SHA-256", "Window:"):
        assert line in out
    assert "sam2.1" not in out
    assert Path("doctor.txt").read_text() in out


def test_demo(command: Command) -> None:
    Path("result").mkdir()
    Path("result/mine.txt").write_text("kept")
    status, out, err = command("demo", "--out", "result")
    assert (status, err) == (0, "")
    assert "mean IoU" in out
    assert "automatic segmentation" in out
    labels = tifffile.imread("result/labels.tif")
    assert labels.shape == (48, 130, 130)
    assert len(np.unique(labels[0])) > 3
    with Image.open("result/overlay.png") as sheet:
        assert min(sheet.size) > 500
    with open("result/tracks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["frame_idx"] for row in rows} == {str(frame) for frame in range(48)}
    first = next(row for row in rows if row["frame_idx"] == "0")
    assert list(first)[:5] == ["obj_id", "frame_idx", "y_px", "x_px", "area_px2"]
    assert_refused(command("demo", "--out", "result"), 2, "exists already")
    assert Path("result/mine.txt").read_text() == "kept"


def test_command_line_starts_quickly() -> None:
    import subprocess

    code = "import sys, napari_sam2.cli; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "timm", "napari", "qtpy", "skimage", "zarr"} & set(done.stdout.split())
