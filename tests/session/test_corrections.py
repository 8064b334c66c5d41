"""What becomes of corrections: after undo, while a run goes on, with locks and after failures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import napari_sam2
from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.images import signature_of
from napari_sam2.session.model_hub import choice_of
from napari_sam2.session.predictor import Predictor
from napari_sam2.session.session import Session
from napari_sam2.session.settings import SessionSettings
from sam2_backbone.inference.frames import robust_value_range

MOVIE = moving_discs(8)


def fake_session() -> Session:
    session = Session(FakeFrames(MOVIE), predictor_factory=FakePredictor)
    for y, x in ((12, 12), (30, 20)):
        session.add_point(session.new_object(), 0, (y, x))
    return session


class RealPredictors:
    """Predictors on one small network with random weights, kept to be looked at."""

    def __init__(self) -> None:
        import torch

        from sam2_backbone import VideoPredictor
        from sam2_backbone.build import build_from_config
        from sam2_backbone.variants import TEST_CONFIG

        torch.manual_seed(3)
        model = build_from_config(TEST_CONFIG).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # initial weights give masks that are empty or full
                parameter.add_(torch.randn_like(parameter) * 0.1)
        self.predictor = VideoPredictor(model)

    def __call__(self, settings: SessionSettings) -> Predictor:
        return self.predictor


@pytest.mark.parametrize("back", ["undo", "reopen"])
def test_memory_holds_a_correction_as_it_was_shown(back: str, tmp_path: Path) -> None:
    factory = RealPredictors()
    session = Session(MOVIE, window="auto", predictor_factory=factory)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    session.add_point(1, 4, (12, 20), positive=False)
    shown = session.mask(1, 4)
    if back == "undo":
        session.add_point(1, 4, (16, 14), positive=False)
        session.undo()
    else:
        session.save(tmp_path / "session.json")
        session = Session.load(tmp_path / "session.json", predictor_factory=factory)
    np.testing.assert_array_equal(session.mask(1, 4), shown)
    session.model_input(4, 1)  # has the predictor hear everything again
    segmentation = session._ledger.segmentation
    (result,) = factory.predictor.propagate(segmentation._state, "both", [1], [4])
    np.testing.assert_array_equal(result.mask_logits[0, 0].numpy() > 0, shown)


def remove_one(session: Session) -> None:
    session.remove_object(2)


def remove_all(session: Session) -> None:
    session.remove_object(2)
    session.remove_object(1)


def lock_all(session: Session) -> None:
    session.lock(1)
    session.lock(2)


@pytest.mark.parametrize("edit", [remove_one, remove_all, lock_all])
@pytest.mark.parametrize("chosen", [None, [1, 2]])
def test_a_session_edited_while_a_run_goes_on_is_replayed(
    edit: Callable[[Session], None], chosen: list[int] | None, tmp_path: Path
) -> None:
    session = fake_session()
    run = session.propagate("both", chosen)
    next(run)
    next(run)
    edit(session)
    list(run)
    session.save(tmp_path / "session.json")
    again = napari_sam2.replay(tmp_path / "session.json", predictor_factory=FakePredictor)
    expected = np.stack([session.labels(t) for t in range(session.num_frames)])
    np.testing.assert_array_equal(again, expected)


def test_a_new_object_whose_first_answer_fails_is_undone() -> None:
    made: list[FakePredictor] = []

    def factory(settings: SessionSettings) -> FakePredictor:
        made.append(FakePredictor(settings))
        return made[-1]

    session = Session(FakeFrames(MOVIE), predictor_factory=factory)
    session.add_point(session.new_object(), 0, (12, 12))
    obj_id = session.new_object()
    made[0].fail_next = OSError("this frame cannot be read")
    with pytest.raises(OSError, match="cannot be read"):
        session.add_point(obj_id, 3, (30, 20))
    session.undo()
    assert [row.obj_id for row in session.objects] == [1]
    session.redo()
    session.add_point(obj_id, 2, (30, 20))
    assert session.mask(obj_id, 2)[30, 20]


def test_an_accepted_frame_is_right_and_a_freed_one_is_computed_again() -> None:
    session = fake_session()
    list(session.propagate())
    session.add_point(1, 4, (14, 18))
    state = session.document.objects[1]
    assert 6 in state.outdated
    accepted = session.mask(1, 6)
    session.lock(1, 6)
    assert 6 in session.document.objects[1].trusted_frames
    list(session.propagate())
    np.testing.assert_array_equal(session.mask(1, 6), accepted)
    session.unlock(1, 6)
    assert session.document.objects[1].outdated == {6}
    list(session.propagate())
    assert not session.document.objects[1].outdated
    assert not np.array_equal(session.mask(1, 6), accepted)


def test_a_locked_object_stays_outdated_where_it_was() -> None:
    session = fake_session()
    list(session.propagate())
    session.add_point(1, 4, (14, 18))
    outdated = session.document.objects[1].outdated
    assert outdated
    session.lock(1)
    session.add_point(session.new_object(), 0, (30, 40))
    list(session.propagate())
    session.unlock(1)
    assert session.document.objects[1].outdated == outdated
    list(session.propagate())
    assert not session.document.objects[1].outdated


def test_a_frame_keeps_its_own_lock_when_its_object_is_given_free(tmp_path: Path) -> None:
    session = fake_session()
    list(session.propagate())
    session.lock(1, 6)
    session.add_point(1, 4, (14, 18))
    accepted = session.mask(1, 6)
    session.unlock(1)  # which was not locked as a whole
    session.lock(1)
    session.unlock(1)
    assert session.objects[0].locked_frames == (6,)
    list(session.propagate())
    np.testing.assert_array_equal(session.mask(1, 6), accepted)
    assert not session.objects[0].is_locked
    session.save(tmp_path / "kept.json")
    again = napari_sam2.replay(tmp_path / "kept.json", predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again[6], session.labels(6))
    # as sessions of earlier versions have it, where the lock of the object held all
    session.unlock(1, keep_frames=False)
    assert session.objects[0].locked_frames == ()
    assert 6 in session.document.objects[1].outdated
    list(session.propagate())
    assert not np.array_equal(session.mask(1, 6), accepted)
    path = tmp_path / "freed.json"
    session.save(path)
    text = path.read_text(encoding="utf-8")
    assert '"keeps_frames": false' in text
    path.write_text(re.sub(r',\s*"keeps_frames": false', "", text), encoding="utf-8")
    again = napari_sam2.replay(path, predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again[6], session.labels(6))


def test_a_box_has_one_answer_only(tmp_path: Path) -> None:
    session = fake_session()
    session.choose_candidate(1, 0, 1)
    session.add_box(1, 0, (5, 5, 20, 22))
    session.save(tmp_path / "s.json")
    again = napari_sam2.replay(tmp_path / "s.json", predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again[0], session.labels(0))


def test_a_run_one_way_leaves_nothing_outdated_that_it_has_been_through() -> None:
    session = Session(FakeFrames(MOVIE), predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 2, (12, 14))
    list(session.propagate())
    session.add_point(1, 5, (12, 18))
    list(session.propagate("forward"))
    assert session.document.objects[1].outdated == {0, 1}
    session.add_point(1, 5, (14, 18))
    list(session.propagate("forward", frames=[3, 4]))
    assert session.document.objects[1].outdated == {0, 1, 6, 7}


class Torn(FakeFrames):
    """A movie whose last frame cannot be read."""

    def read(self, frame_idx: int) -> np.ndarray:
        if frame_idx == self.num_frames - 1:
            raise OSError("cut short")
        return super().read(frame_idx)


def test_a_frame_that_cannot_be_read_does_not_prevent_saving(tmp_path: Path) -> None:
    torn = Torn(MOVIE.astype(np.uint16))
    assert robust_value_range(torn) == robust_value_range(FakeFrames(MOVIE.astype(np.uint16)))
    assert signature_of(torn) != signature_of(FakeFrames(MOVIE.astype(np.uint16)))
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, frame in enumerate(MOVIE):
        iio.imwrite(folder / f"{t}.png", frame)
    whole = (folder / "7.png").read_bytes()
    (folder / "7.png").write_bytes(whole[: len(whole) // 2])
    session = Session(folder, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate(frames=range(7)))
    session.save(tmp_path / "session.json")
    again = Session.load(tmp_path / "session.json", predictor_factory=FakePredictor)
    assert again.document == session.document


def test_weights_that_were_replaced_are_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    settings = SessionSettings(variant=None, weights=str(path))
    choices = []
    for number, content in enumerate((b"first", b"second")):
        path.write_bytes(content)
        os.utime(path, (number, number))
        choices.append(choice_of(settings))
    assert choices[0] != choices[1]


def test_a_lock_that_is_undone_lets_a_frame_be_computed_again() -> None:
    session, plain = fake_session(), fake_session()
    for each in (session, plain):
        list(each.propagate())
        each.add_point(1, 3, (40, 40))
    session.lock(1, 5)
    list(session.propagate(frames=[5]))  # the model takes the accepted mask for its own
    assert session.undo() == "Lock"
    for each in (session, plain):
        list(each.propagate(frames=[5]))
    np.testing.assert_array_equal(session.mask(1, 5), plain.mask(1, 5))
