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
import tifffile

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session import autosave
from napari_sam2.session.autosave import Autosave, find_work, places_of
from napari_sam2.session.codec import Contents
from napari_sam2.session.errors import SessionFileError
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


def test_all_of_a_click_is_written_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(autosave, "_GRACE_S", 1.0)
    written, write = [], JournalWriter.write

    def count(writer: JournalWriter, contents: Contents) -> None:
        written.append(len(contents.document.objects[1].masks))
        write(writer, contents)

    monkeypatch.setattr(JournalWriter, "write", count)
    session = a_session()
    saving = Autosave(session, tmp_path, interval_s=1.0)
    session.add_point(session.new_object(), 0, (12, 12))
    deadline = time.monotonic() + 20
    while not written and time.monotonic() < deadline:
        time.sleep(0.01)
    saving.stop()
    assert written == [1]


def test_work_is_found_by_its_image_and_taken_up(tmp_path: Path) -> None:
    session = a_session()
    saving = Autosave(session, tmp_path)
    session.add_point(session.new_object("cell"), 0, (12, 12))
    list(session.propagate())
    saving.save_now()
    assert find_work(a_session(), tmp_path) is None  # it is being written
    saving.stop()
    found = find_work(a_session(), tmp_path)
    assert found.summary == "1 object with 8 masks"
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
    told: list[str] = []
    session.events.noticed.connect(told.append)
    saving = Autosave(session, blocked)
    session.new_object()
    saving.save_now()
    assert "saved automatically" in saving.problem
    assert len(told) == 1
    assert "Save the session to a file now" in told[0]
    session.new_object()
    saving.save_now()
    assert len(told) == 1
    saving.stop()


def test_what_cannot_be_saved_gives_way_to_nothing(tmp_path: Path) -> None:
    session, blocked = a_session(), tmp_path / "file"
    blocked.write_text("no folder")
    saving = Autosave(session, blocked)
    saving.begin_anew()  # there is nothing to lose
    session.new_object()
    with pytest.raises(SessionFileError, match="save the session to a file first"):
        saving.begin_anew()
    saving.filed(session.document)
    saving.begin_anew()
    saving.stop()


def test_a_journal_stays_while_what_is_newer_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = a_session()
    saving = Autosave(session, tmp_path)
    session.new_object()
    document = session.document
    session.new_object()
    saving.save_now()
    journal = saving.path
    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "write", full)
        saving.filed(document)  # an earlier moment is in a file now
    assert len(read_journal(journal).contents.document.objects) == 2
    saving.stop()


def full(writer: JournalWriter, contents: Contents) -> None:
    raise OSError(28, "No space left on device")


def test_a_record_that_failed_hides_nothing_after_it(tmp_path: Path) -> None:
    session, path = a_session(), tmp_path / "a.journal"
    writer = JournalWriter(path)
    session.add_point(session.new_object(), 0, (12, 12))
    writer.write(session.contents())
    file = writer._file

    class Full:
        """A disk that takes ten bytes more."""

        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

        def write(self, data: memoryview) -> int:
            file.write(data[:10])
            raise OSError(28, "No space left on device")

    writer._file = Full()
    session.new_object()
    with pytest.raises(OSError, match="No space"):
        writer.write(session.contents())
    assert len(read_journal(path).contents.document.objects) == 1
    writer._file = file
    session.new_object()
    writer.write(session.contents())
    writer.close()
    assert read_journal(path).contents.document == session.document


def test_an_image_that_fails_ends_no_autosave(tmp_path: Path) -> None:
    class Flaky(FakeFrames):
        fails = True

        def read(self, frame_idx: int) -> np.ndarray:
            if Flaky.fails:
                raise RuntimeError("the server does not answer")
            return super().read(frame_idx)

    session = Session(Flaky(moving_discs()), predictor_factory=FakePredictor)
    told: list[str] = []
    session.events.noticed.connect(told.append)
    saving = Autosave(session, tmp_path, on_found=told.append)
    session.new_object()
    saving.save_now()
    assert any("the server does not answer" in sentence for sentence in told)
    assert saving.path is None
    Flaky.fails = False
    deadline = time.monotonic() + 20
    session.new_object()
    while saving.path is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert saving.path is not None  # by the thread
    saving.stop()
    found = find_work(session, tmp_path)
    assert found is not None
    assert found.contents.document == session.document


@pytest.fixture
def movie_file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "cells [1].tif"
    tifffile.imwrite(path, moving_discs())
    return path


def a_session_on(path: Path) -> Session:
    return Session(path, predictor_factory=FakePredictor)


def test_the_journal_lies_beside_the_image_and_is_found_there(
    tmp_path: Path, movie_file: Path
) -> None:
    session, cache = a_session_on(movie_file), tmp_path / "cache"
    saving = Autosave(session, cache)
    session.add_point(session.new_object(), 0, (12, 12))
    saving.save_now()
    assert saving.path is not None
    assert saving.path.parent == movie_file.parent
    assert saving.path.name.startswith("cells [1].tif.")
    assert find_work(a_session_on(movie_file), cache) is None  # it is being written
    at_a_crash = saving.path.read_bytes()
    saving.stop(discard=True)
    assert find_work(a_session_on(movie_file), cache) is None
    left = movie_file.with_name(f"cells [1].tif.{places_of(session).signature[:12]}-1.journal")
    left.write_bytes(at_a_crash)
    found = find_work(a_session_on(movie_file), cache)
    assert found is not None
    assert found.path == left
    assert found.contents.document == session.document
    moved = tmp_path / "data" / "moved.tif"
    movie_file.rename(moved)
    assert find_work(a_session_on(moved), cache) is not None
    other = tmp_path / "data" / "other.tif"
    tifffile.imwrite(other, 255 - moving_discs())
    assert find_work(a_session_on(other), cache) is None


def test_nothing_stays_beside_the_image(tmp_path: Path, movie_file: Path) -> None:
    session, cache = a_session_on(movie_file), tmp_path / "cache"
    saving = Autosave(session, cache)
    session.add_point(session.new_object(), 0, (12, 12))
    saving.save_now()
    assert len(list(movie_file.parent.iterdir())) == 2
    saving.begin_anew()  # as when another session is opened
    assert len(list(movie_file.parent.iterdir())) == 1
    session.new_object()
    saving.stop()
    assert list(movie_file.parent.iterdir()) == [movie_file]
    found = find_work(a_session_on(movie_file), cache)
    assert found is not None
    assert found.contents.document == session.document
    assert len(list(cache.rglob("*.journal"))) == 2


def test_what_a_file_holds_is_in_no_journal(tmp_path: Path, movie_file: Path) -> None:
    session, cache = a_session_on(movie_file), tmp_path / "cache"
    saving = Autosave(session, cache)

    def journals() -> list[Path]:
        return [*tmp_path.rglob("*.journal")]

    session.add_point(session.new_object(), 0, (12, 12))
    saving.save_now()
    before = saving.path
    session.add_point(1, 0, (14, 14))
    saving.filed(session.document)
    assert journals() == []
    saving.save_now()
    assert journals() == []
    session.new_object()
    saving.save_now()
    assert len(journals()) == 1
    assert journals() != [before]
    session.undo()
    saving.stop()  # back to what the file holds
    assert journals() == []

    # what came while the file was written stays
    saving = Autosave(session, cache)
    session.new_object()
    document = session.document
    session.new_object()
    saving.filed(document)
    assert len(journals()) == 1
    saving.stop()
    found = find_work(session, cache)
    assert found is not None
    assert found.contents.document == session.document
    saving = Autosave(session, cache)
    for record in session.objects:
        session.remove_object(record.obj_id)
    saving.stop()
    assert len(journals()) == 1


def test_where_the_image_may_not_be_written_to_the_cache_takes_the_journal(
    tmp_path: Path, movie_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, cache = a_session_on(movie_file), tmp_path / "cache"
    assert places_of(session).may_lie_beside
    (movie_file.parent / ".zgroup").write_text("{}")
    assert not places_of(session).may_lie_beside  # a part of a store
    (movie_file.parent / ".zgroup").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: Path(path) != movie_file)
        saving = Autosave(session, cache)
        session.new_object()
        saving.save_now()
        assert saving.path is not None
        assert cache in saving.path.parents
        saving.stop(discard=True)
    # a disk that fails later
    saving = Autosave(session, cache)
    session.new_object()
    saving.save_now()
    write = JournalWriter.write

    def fail_beside(writer: JournalWriter, contents: Contents) -> None:
        if writer.path.parent == movie_file.parent:
            raise OSError(28, "No space left on device")
        write(writer, contents)

    monkeypatch.setattr(JournalWriter, "write", fail_beside)
    session.new_object()
    saving.save_now()
    assert saving.problem == ""
    assert saving.path is not None
    assert cache in saving.path.parents
    assert list(movie_file.parent.iterdir()) == [movie_file]
    saving.stop()
    found = find_work(a_session_on(movie_file), cache)
    assert found is not None
    assert found.contents.document == session.document


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
    assert len(places_of(session, folder=tmp_path).found()) == 1
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


class Volume(FakeFrames):
    """Planes of an array (Z, T, H, W)."""

    def __init__(self, planes: np.ndarray, z: int) -> None:
        super().__init__(planes[z])
        object.__setattr__(self, "_planes", planes)
        object.__setattr__(self, "plane", ((1, z),))

    def on_plane(self, plane) -> Volume:
        return Volume(self._planes, plane[0][1])


def test_work_on_another_plane_is_found_by_its_pixels(tmp_path: Path) -> None:
    planes = np.stack([np.roll(moving_discs(), 5 * z, axis=2) for z in range(4)])

    def on(z: int, pixels=planes) -> Session:
        return Session(Volume(pixels, z), predictor_factory=FakePredictor)

    for z, name in ((2, "older"), (3, "cell")):
        session = on(z)
        saving = Autosave(session, tmp_path)
        session.add_point(session.new_object(name), 0, (12, 12))
        saving.stop()
        time.sleep(0.02)
    found = find_work(on(0), tmp_path)
    assert found is not None
    assert found.plane == ((1, 3),)
    assert found.contents.document == session.document
    assert find_work(on(0), tmp_path, elsewhere=False) is None
    here = find_work(on(2), tmp_path)  # its own comes first
    assert here is not None
    assert here.plane == ((1, 2),)
    assert here.contents.document.objects[1].name == "older"
    # another recording whose first plane is the same, black for instance
    other = planes.copy()
    other[1:] = other[1:, ::-1]
    assert find_work(on(0, other), tmp_path) is None
    assert find_work(on(3, other), tmp_path) is None
    # fewer planes
    assert find_work(on(0, planes[:2]), tmp_path) is None


def test_each_plane_keeps_its_newest_journals(tmp_path: Path) -> None:
    planes = np.stack([np.roll(moving_discs(), 5 * z, axis=2) for z in range(8)])
    for z in range(8):
        session = Session(Volume(planes, z), predictor_factory=FakePredictor)
        saving = Autosave(session, tmp_path)
        session.add_point(session.new_object(), 0, (12, 12))
        saving.stop()
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 8
