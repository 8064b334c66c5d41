"""The journal: everything comes back, torn ends are left out, and a killed process loses little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.autosave import Autosave, find_work, journals_of
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.images import signature_of
from napari_sam2.session.journal import JournalWriter, read_journal
from napari_sam2.session.session import Session


def a_session(num_frames=8) -> Session:
    return Session(FakeFrames(moving_discs(num_frames)), predictor_factory=FakePredictor)


def test_a_torn_end_is_left_out(tmp_path: Path) -> None:
    session, path = a_session(), tmp_path / "a.journal"
    writer = JournalWriter(path)
    session.add_point(session.new_object(), 0, (12, 12))
    writer.write(session.contents())
    before, size = session.document, path.stat().st_size
    list(session.propagate())
    writer.write(session.contents())
    writer.close()
    whole = path.read_bytes()
    for length in (size, size + 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_journal(path).contents.document == before
    path.write_bytes(whole[:-5] + b"wrong")
    assert read_journal(path).contents.document == before
    for wrong in (b"", b"something else", whole[:30]):
        path.write_bytes(wrong)
        with pytest.raises(SessionFileError):
            read_journal(path)


def test_nothing_is_written_before_there_is_something(tmp_path: Path) -> None:
    session = a_session()
    saving = Autosave(session, tmp_path)
    saving.stop()
    assert list(tmp_path.iterdir()) == []


def test_work_is_found_by_its_image_and_taken_up(tmp_path: Path) -> None:
    session = a_session()
    saving = Autosave(session, tmp_path)
    session.add_point(session.new_object("cell"), 0, (12, 12))
    list(session.propagate())
    saving.save_now()
    assert find_work(a_session(), tmp_path) is None  # it is being written
    saving.stop()
    found = find_work(a_session(), tmp_path)
    assert found.summary == "1 objects with 8 masks"
    assert find_work(a_session(7), tmp_path) is None  # another image
    again = a_session()
    again.restore(found.contents, found.path.name)
    assert again.document == session.document
    again.add_point(1, 4, (30, 30))
    session.add_point(1, 4, (30, 30))
    np.testing.assert_array_equal(again.labels(4), session.labels(4))
    saving = Autosave(again, tmp_path)
    again.new_object()
    saving.stop(discard=True)
    assert len(list(tmp_path.rglob("*.journal"))) == 1


def test_only_a_few_journals_are_kept(tmp_path: Path) -> None:
    session = a_session()
    for _ in range(9):
        saving = Autosave(session, tmp_path)
        session.new_object()
        saving.stop()
    assert len(list(tmp_path.rglob("*.journal"))) <= 5


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    session = a_session()
    saving = Autosave(session, blocked)
    session.new_object()
    saving.save_now()
    assert "saved automatically" in saving.problem
    saving.stop()


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.autosave import Autosave
from napari_sam2.session.session import Session

session = Session(FakeFrames(moving_discs(2000)), predictor_factory=FakePredictor)
saving = Autosave(session, Path({folder!r}))
for y in (12, 30):
    session.add_point(session.new_object(), 0, (y, 12))
for frame_idx in session.propagate("forward"):
    print(frame_idx, time.time(), flush=True)
    time.sleep(0.005)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_killed_process_loses_at_most_the_last_second(tmp_path: Path) -> None:
    code = CHILD.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    done: list[tuple[int, float]] = []
    for line in child.stdout:
        frame_idx, at = line.split()
        done.append((int(frame_idx), float(at)))
        if at and done[-1][1] - done[0][1] > 3.0:
            break
    os.kill(child.pid, signal.SIGKILL)
    killed = time.time()
    child.wait()
    child.stdout.close()
    session = a_session(2000)
    place = journals_of(signature_of(session.source), tmp_path)
    assert len(list(place.iterdir())) == 1
    found = find_work(session, tmp_path)
    assert found is not None
    assert [record.obj_id for record in found.contents.document.objects.values()] == [1, 2]
    safe = max(frame_idx for frame_idx, at in done if at < killed - 1.0)
    assert safe > 20
    for state in found.contents.document.objects.values():
        assert state.prompts.keys() == {0}
        assert set(range(safe + 1)) <= state.masks.keys()
    session.restore(found.contents, "found")
    list(session.propagate(frames=range(len(state.masks) + 5)))
    assert session.undo() == "Propagate"
