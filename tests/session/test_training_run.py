"""A training run in a process of its own: started, followed, stopped, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_sam2.session.errors import TrainingError
from napari_sam2.session.training_data import write_training_data
from napari_sam2.session.training_run import (
    TrainingOrder,
    TrainingRun,
    keep_weights,
    read_progress,
)

from .test_training_data import labelled, walking

# stands for the command: says what it was asked, and lives until its input ends
WAITS = """
import os, sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
(out / "asked.txt").write_text(" ".join(sys.argv[1:]))
while os.read(0, 10):
    pass
(out / "weights.safetensors").write_bytes(b"learned")
"""


def program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_until(happened, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def order(tmp_path: Path, **options) -> TrainingOrder:
    return TrainingOrder(tmp_path / "in", tmp_path / "out", 5, **options)


def test_a_run_stops_by_itself_and_keeps_what_it_has(tmp_path: Path) -> None:
    run = TrainingRun(order(tmp_path), program=program(WAITS))
    wait_until((tmp_path / "out" / "asked.txt").exists)
    assert run.is_running
    assert run.failure() is None
    asked = (tmp_path / "out" / "asked.txt").read_text()
    assert asked.startswith(f"{tmp_path / 'in'} --out {tmp_path / 'out'} --minutes 5 ")
    assert "--weights default" in asked
    assert "--until-input-ends" in asked
    run.stop()
    run.stop()
    wait_until(lambda: not run.is_running)
    assert run.failure() is None
    kept = keep_weights(tmp_path / "out")
    assert kept.read_bytes() == b"learned"
    assert keep_weights(tmp_path / "out") == kept
    # a run that goes on takes nothing from a session that has used the earlier weights
    later = kept.stat().st_mtime + 10
    (tmp_path / "out" / "weights.safetensors").write_bytes(b"more")
    os.utime(tmp_path / "out" / "weights.safetensors", (later, later))
    assert keep_weights(tmp_path / "out") != kept
    assert kept.read_bytes() == b"learned"


def test_a_run_that_does_not_end_is_ended(tmp_path: Path) -> None:
    run = TrainingRun(order(tmp_path), program=program("import time; time.sleep(600)"))
    run.end(0.2)
    assert not run.is_running
    assert "Resume" in (run.failure() or "") or os.name == "nt"


@pytest.mark.skipif(os.name == "nt", reason="processes are looked at as POSIX has them")
def test_nothing_is_left_where_the_window_is_killed(tmp_path: Path) -> None:
    """The end of the pipe ends the run, even if nobody was left to say so."""
    code = f"""
import time
from pathlib import Path
from napari_sam2.session.training_run import TrainingOrder, TrainingRun
run = TrainingRun(
    TrainingOrder(Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "out")!r}), 5),
    program={program(WAITS)!r},
)
time.sleep(600)
"""
    window = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until((tmp_path / "out" / "asked.txt").exists)
    finally:
        window.kill()
        window.wait()
    wait_until((tmp_path / "out" / "weights.safetensors").exists)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; sys.exit('python -m sam2_backbone.training: no images/ and masks/ below')",
            "no images/ and masks/ below.",
        ),
        ("raise RuntimeError('CUDA out of memory. Tried to')", "not enough memory"),
        ("raise KeyError('strange')", "KeyError: 'strange'. "),
        ("import os; os.kill(os.getpid(), 9)", "ended from outside (signal 9)"),
    ],
)
def test_a_failure_is_a_sentence(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.log").write_text("out of memory, the last time\n")
    run = TrainingRun(order(tmp_path), program=program(code))
    wait_until(lambda: not run.is_running)
    assert said in (run.failure() or "")


def test_orders_that_cannot_be_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no file of weights"):
        TrainingRun(order(tmp_path, weights=str(tmp_path / "mine.pt")), program=program(WAITS))
    assert not (tmp_path / "out").exists()
    (tmp_path / "in").mkdir()
    with pytest.raises(TrainingError, match="no run to go on with"):
        order(tmp_path, resume=True).check()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(TrainingError, match="is a file"):
        order(tmp_path).check()
    (tmp_path / "out").unlink()
    _write_run(tmp_path / "out")
    with pytest.raises(TrainingError, match="press Resume"):
        order(tmp_path).check()
    order(tmp_path, resume=True).check()
    with pytest.raises(TrainingError, match=r"has had 3\.5 minutes"):
        TrainingOrder(tmp_path / "in", tmp_path / "out", 3, resume=True).check()
    with pytest.raises(TrainingError, match="choose it again"):
        TrainingOrder(tmp_path / "gone", tmp_path / "out", 5, resume=True).check()
    with pytest.raises(TrainingError, match="no weights yet"):
        keep_weights(tmp_path / "in")


def _write_run(out: Path) -> None:
    (out / "samples").mkdir(parents=True)
    for name in ("checkpoint.pt", "weights.safetensors", "samples/step_000040.png"):
        (out / name).write_bytes(b"")
    earlier = out / "samples" / "step_000900.png"
    earlier.write_bytes(b"")
    os.utime(earlier, (1e9, 1e9))
    (out / "args.json").write_text('{"minutes": 30.0, "seed": 0}')
    (out / "log.csv").write_text("20,1.500,loss,2.0\n40,3.500,click,0.5\n40,3.500,loss,1.0\n60,4.")


def test_progress_is_read_while_it_is_written(tmp_path: Path) -> None:
    assert read_progress(tmp_path).total_minutes is None
    _write_run(tmp_path)
    progress = read_progress(tmp_path)
    assert (progress.step, progress.minutes, progress.total_minutes) == (40, 3.5, 30.0)
    assert progress.curves["loss"] == ([1.5, 3.5], [2.0, 1.0])
    assert progress.latest("loss") == 1.5
    assert progress.latest("box") is None
    assert progress.samples == tmp_path / "samples" / "step_000040.png"
    assert progress.can_resume


@pytest.mark.slow
def test_labels_become_weights_that_open(tmp_path: Path) -> None:
    """The real command on a tiny network: trained, stopped, resumed and opened."""
    from sam2_backbone.build import build_sam2
    from sam2_backbone.checkpoint import save_weights
    from sam2_backbone.training.trainer import new_network
    from sam2_backbone.variants import TEST_CONFIG

    labels = walking()
    out = tmp_path / "out"
    write_training_data(labelled(labels % 255, labels), out)
    start = tmp_path / "start.safetensors"
    save_weights(new_network(TEST_CONFIG, 0), start)
    asked = TrainingOrder(out / "data", out, 60, weights=str(start), device="cpu")
    run = TrainingRun(asked)
    wait_until(lambda: not run.is_running or read_progress(out).step > 0, 300)
    assert run.failure() is None
    run.stop()
    wait_until(lambda: not run.is_running, 120)
    assert run.failure() is None
    stopped = read_progress(out)
    assert stopped.samples is not None
    minutes = stopped.minutes + 0.6
    resumed = TrainingRun(TrainingOrder(out / "data", out, minutes, resume=True, device="cpu"))
    wait_until(lambda: not resumed.is_running, 300)
    assert resumed.failure() is None
    assert read_progress(out).step > stopped.step
    model = build_sam2(None, keep_weights(out), device="cpu", dtype="float32")
    assert model.config == TEST_CONFIG
