"""A session that is opened where its network is another one: nothing is lost, and it is said."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_sam2
from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.replay import replaying
from napari_sam2.session.session import Session

MOVIE = moving_discs()


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Session, Path]:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    session.add_point(session.new_object("cell"), 0, (12, 12))
    list(session.propagate())
    session.save(tmp_path / "a.json")
    return session, tmp_path / "a.json"


def respell(path: Path, **settings: Any) -> None:
    """Let a session file say other things of its model."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["weights_sha256"] = "0" * 64
    tree["settings"].update(settings)
    path.write_text(json.dumps(tree), encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "the session a.json was made with other weights of micro than those here"),
        ({"weights": "own.pt"}, "are no longer at own.pt: put them back"),
        ({"weights": __file__}, f"{__file__} holds other weights than the session a.json"),
        ({"variant": "nano"}, "the network nano, which is not known here"),
    ],
)
def test_other_weights_are_explained_and_nothing_is_lost(
    saved: tuple[Session, Path], settings: dict[str, Any], says: str
) -> None:
    session, path = saved
    respell(path, **settings)
    with pytest.warns(UserWarning, match="masks and prompts are as they were") as told:
        loaded = Session.load(path)
    assert says in str(told[0].message)
    assert told[0].filename == __file__
    assert len(told) == 1
    assert loaded.document == session.document
    heard: list[str] = []
    again = Session(MOVIE)
    again.events.noticed.connect(heard.append)
    assert again.restore(loaded.contents(with_hash=False), "it") == ""
    assert heard == []


def test_what_a_later_version_wrote_is_not_called_damaged_alone(
    saved: tuple[Session, Path],
) -> None:
    _, path = saved
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["settings"]["telepathy"] = True
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(SessionFileError, match="is damaged and cannot be read"):
        Session.load(path)
    tree["written_by"]["napari-sam2"] = "99.0"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(SessionFileError, match=r"needs napari-sam2 99\.0, which wrote it"):
        Session.load(path)


def test_the_event_says_what_the_call_returns(saved: tuple[Session, Path]) -> None:
    session, path = saved
    respell(path)
    from napari_sam2.session import files

    heard: list[str] = []
    again = Session(FakeFrames(MOVIE))
    again.events.noticed.connect(heard.append)
    assert heard == []
    notice = again.restore(files.read(path).contents, "the work that was found")
    assert heard == [notice]
    assert notice.count(".") == 1
    assert "the work that was found was made with other weights" in notice
    assert again.document == session.document


def test_the_same_weights_are_no_news(tmp_path: Path) -> None:
    session = Session(MOVIE)
    session.new_object()
    session.save(tmp_path / "a.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Session.load(tmp_path / "a.json")
    assert loaded.document == session.document


def test_an_unknown_network_gives_way_to_the_one_in_use(saved: tuple[Session, Path]) -> None:
    _, path = saved
    respell(path, variant="nano", window=40)
    with pytest.warns(UserWarning, match="the next answers come from micro"):
        loaded = Session.load(path)
    assert (loaded.variant, loaded.window) == ("micro", 40)
    loaded.save(path)
    again = Session.load(path)
    assert again.settings == loaded.settings


def test_a_device_that_is_not_here_gives_way(tmp_path: Path) -> None:
    session = Session(MOVIE)
    session.new_object()
    session.save(tmp_path / "a.json")
    tree = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    tree["settings"]["device"] = "abacus"
    (tmp_path / "a.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.warns(UserWarning, match="on the device abacus, which is not here"):
        loaded = Session.load(tmp_path / "a.json")
    assert loaded.settings.device == "auto"
    assert loaded.document == session.document


def test_a_replay_says_that_its_masks_may_differ(tmp_path: Path) -> None:
    session = Session(MOVIE)
    session.new_object()
    session.save(tmp_path / "a.json")
    respell(tmp_path / "a.json")
    with pytest.warns(UserWarning, match="a.json was made with other weights") as told:
        labels = napari_sam2.replay(tmp_path / "a.json", progress=False)
    assert told[0].filename == __file__
    assert not np.any(labels)


def test_a_replay_on_another_network_takes_its_weights(saved: tuple[Session, Path]) -> None:
    _, path = saved
    tree = json.loads(path.read_text(encoding="utf-8"))
    for settings in (tree["settings"], tree["actions"][0]["settings"]):
        settings["weights"] = "own.pt"
    path.write_text(json.dumps(tree), encoding="utf-8")
    again, steps, _ = replaying(path, variant="sam2.1_hiera_tiny", predictor_factory=FakePredictor)
    list(steps)
    assert (again.settings.variant, again.settings.weights) == ("sam2.1_hiera_tiny", "default")
    same, steps, _ = replaying(path, variant="micro", predictor_factory=FakePredictor)
    list(steps)
    assert (same.settings.variant, same.settings.weights) == ("micro", "own.pt")


def test_a_copy_of_a_session_file_keeps_its_masks(saved: tuple[Session, Path]) -> None:
    session, path = saved
    before = session.document
    copy = path.with_name("before.json")
    copy.write_bytes(path.read_bytes())
    session.remove_object(1)
    session.save(path)
    session.save(path)
    assert Session.load(copy, predictor_factory=FakePredictor).document == before
    assert Session.load(path, predictor_factory=FakePredictor).document == session.document
    assert len(list(path.parent.glob("*.npz"))) == 2  # one of each, none of the save between
