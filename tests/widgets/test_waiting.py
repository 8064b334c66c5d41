"""Waiting for work to be finished, as scripts and the main job's tests do."""

from __future__ import annotations

import itertools

import pytest

from napari_sam2.widgets.waiting import wait_until

pytestmark = pytest.mark.usefixtures("qapp")


def test_what_begins_after_it_was_finished_is_not_waited_for() -> None:
    answers = itertools.chain([False, True], itertools.repeat(False))
    wait_until(lambda: next(answers), timeout=20)


def test_what_is_never_finished_is_said() -> None:
    with pytest.raises(TimeoutError, match=r"still at work after 0\.02 s"):
        wait_until(lambda: False, timeout=0.02)
