"""The worker: requests first, one long job, every failure told, nothing after the end."""

from __future__ import annotations

import sys
import threading
import time
from functools import partial

import pytest

from napari_sam2.widgets import jobs as jobs_module
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.messages import sentence_of
from napari_sam2.widgets.short_turns import short_turns


@pytest.fixture
def jobs(qtbot):
    worker = Jobs()
    yield worker
    worker.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "napari-sam2"]


def settle(qtbot, jobs) -> None:
    qtbot.waitUntil(lambda: jobs.is_settled, timeout=10_000)


class Heard:
    """Everything a worker says, and in which thread."""

    def __init__(self, jobs: Jobs) -> None:
        self.done: list = []
        self.steps: list = []
        self.ended: list = []
        self.threads: set[int] = set()
        jobs.request_done.connect(self._on_done)
        jobs.stepped.connect(self._on_step)
        jobs.ended.connect(self._on_ended)

    def _on_done(self, key, error, value) -> None:
        self.done.append((key, error))
        self.threads.add(threading.get_ident())

    def _on_step(self, value) -> None:
        self.steps.append(value)
        self.threads.add(threading.get_ident())

    def _on_ended(self, error, cancelled) -> None:
        self.ended.append((error, cancelled))
        self.threads.add(threading.get_ident())


def test_requests_run_elsewhere_and_are_told_here(jobs, qtbot) -> None:
    heard, ran = Heard(jobs), []
    jobs.ask("a", lambda: ran.append(threading.get_ident()))
    assert jobs.is_waiting("a") or ran
    settle(qtbot, jobs)
    assert heard.done == [("a", None)]
    assert heard.threads == {threading.get_ident()} != set(ran)


def test_a_request_asked_again_comes_after_what_was_asked_in_between(jobs, qtbot) -> None:
    ran: list[str] = []
    begin = threading.Event()
    jobs.ask("first", begin.wait)
    jobs.ask("prompt", lambda: ran.append("old prompt"))
    jobs.ask("limits", lambda: ran.append("limits"))
    jobs.ask("prompt", lambda: ran.append("prompt"))
    begin.set()
    settle(qtbot, jobs)
    assert ran == ["limits", "prompt"]


def test_what_an_undo_takes_back_is_done_before_it(jobs, qtbot) -> None:
    ran: list[str] = []
    begin = threading.Event()
    jobs.ask("first", begin.wait)
    jobs.ask("prompt", lambda: ran.append("click"))
    jobs.ask("undo", lambda: ran.append("undo"), barrier=True)
    jobs.ask("prompt", lambda: ran.append("click again"))
    assert jobs.is_waiting("prompt")
    begin.set()
    settle(qtbot, jobs)
    assert ran == ["click", "undo", "click again"]


def test_the_newest_request_of_a_kind_wins(jobs, qtbot) -> None:
    heard, ran, gate = Heard(jobs), [], threading.Event()
    jobs.ask("first", gate.wait)
    for number in range(5):
        jobs.ask("a", lambda number=number: ran.append(number))
    jobs.ask("b", lambda: ran.append("b"))
    gate.set()
    settle(qtbot, jobs)
    assert ran == [4, "b"]
    assert [key for key, _ in heard.done] == ["first", "a", "b"]


@pytest.mark.parametrize(
    "error", [RuntimeError("out"), StopIteration(), MemoryError(), KeyError(1)]
)
def test_any_failure_is_told(jobs, qtbot, error) -> None:
    heard = Heard(jobs)

    def fail():
        raise error

    def fail_later():
        yield 1
        fail()

    jobs.ask("a", fail)
    settle(qtbot, jobs)
    assert heard.done == [("a", error)]
    jobs.start(fail_later)
    settle(qtbot, jobs)
    ((told, cancelled),) = heard.ended
    # Python itself turns a StopIteration inside of a generator into a RuntimeError
    assert told is error or isinstance(told, RuntimeError)
    assert not cancelled
    jobs.start(fail)  # not even a generator comes of it
    settle(qtbot, jobs)
    assert len(heard.ended) == 2


def test_requests_go_between_the_steps(jobs, qtbot) -> None:
    heard, order = Heard(jobs), []

    def steps():
        for number in range(6):
            order.append(number)
            time.sleep(0.01)
            yield number

    assert jobs.start(steps)
    assert not jobs.start(steps)
    qtbot.waitUntil(lambda: len(heard.steps) >= 2, timeout=10_000)
    jobs.ask("a", lambda: order.append("a"))
    settle(qtbot, jobs)
    assert heard.steps == list(range(6))
    assert 1 < order.index("a") < 6
    assert heard.ended == [(None, False)]


def test_cancel_closes_the_generator_and_drops_what_is_late(jobs, qtbot) -> None:
    heard, closed = Heard(jobs), []

    def steps():
        try:
            for number in range(1000):
                time.sleep(0.005)
                yield number
        finally:
            closed.append(threading.get_ident())

    jobs.start(steps)
    qtbot.waitUntil(lambda: len(heard.steps) >= 2, timeout=10_000)
    jobs.cancel()
    told = len(heard.steps)
    settle(qtbot, jobs)
    assert len(heard.steps) == told
    assert heard.ended == [(None, True)]
    assert len(closed) == 1
    assert jobs.start(steps)
    jobs.cancel()
    settle(qtbot, jobs)


def test_the_job_does_not_run_ahead_of_a_slow_window(jobs, qtbot) -> None:
    made, seen, lead = [], [], []

    def steps():
        for number in range(12):
            made.append(number)
            yield number

    def draw(number) -> None:
        time.sleep(0.01)
        seen.append(number)
        lead.append(len(made) - len(seen))

    jobs.stepped.connect(draw)
    jobs.start(steps)
    settle(qtbot, jobs)
    assert seen == list(range(12))
    assert max(lead) <= 2


def test_pause_holds_and_counts_as_settled(jobs, qtbot) -> None:
    heard = Heard(jobs)

    def steps():
        for number in range(50):
            time.sleep(0.002)
            yield number

    jobs.start(steps)
    qtbot.waitUntil(lambda: len(heard.steps) >= 2, timeout=10_000)
    jobs.pause()
    settle(qtbot, jobs)
    held = len(heard.steps)
    qtbot.wait(50)
    assert len(heard.steps) == held < 50
    assert jobs.is_paused
    jobs.resume()
    settle(qtbot, jobs)
    assert heard.steps == list(range(50))


def test_nothing_is_said_after_the_end(jobs, qtbot) -> None:
    heard, gate = Heard(jobs), threading.Event()
    jobs.ask("a", lambda: gate.wait(5))
    qtbot.wait(20)
    gate.set()
    jobs.stop()
    jobs.ask("b", lambda: None)
    assert not jobs.start(lambda: iter(()))
    qtbot.wait(50)
    assert heard.done == []


def test_what_is_owed_is_done_at_the_end_and_all_that_came_before_it(jobs, qtbot) -> None:
    gate, done = threading.Event(), []
    jobs.ask("running", lambda: gate.wait(5))
    for key in ("prompt", "save", "idle"):
        jobs.ask(key, partial(done.append, key), owed=key == "save")
    threading.Timer(0.1, gate.set).start()
    jobs.stop()
    assert done == ["prompt", "save"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\n\nlong"), "smaller model"),
        (MemoryError(), "smaller model"),
        (ValueError("The box is empty: draw it again"), "The box is empty: draw it again."),
        (RuntimeError("mat1 and mat2"), "RuntimeError: mat1 and mat2."),
        (KeyError(), "KeyError"),
    ],
)
def test_one_sentence(error, words) -> None:
    sentence = sentence_of(error)
    assert words in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


class Loading:
    """Something unattended that a request is about, which ends when it is let."""

    def __init__(self, jobs: Jobs, fails_with: Exception | None = None) -> None:
        self.gate = threading.Event()
        self._jobs, self._error = jobs, fails_with
        self._begun = threading.Event()
        self.rest: list[str] = []
        """What was done behind it."""
        jobs.ask("prompt", self._load)
        assert self._begun.wait(10)

    def end(self) -> None:
        """Let it end after the worker was stopped, and the thread with it."""
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "napari-sam2"]
        self.gate.set()
        thread.join(10)

    def _load(self) -> None:
        with self._jobs.unattended():
            self._begun.set()
            self.gate.wait(20)
            if self._error is not None:
                raise self._error
        self.rest.append("answer")


def test_the_end_does_not_wait_for_what_is_unattended(jobs, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(jobs_module, "_PATIENCE", 30.0)  # longer than the gate stays closed
    heard, loading = Heard(jobs), Loading(jobs)
    jobs.stop()
    loading.end()
    assert loading.rest == []
    assert heard.done == []


def test_what_fails_when_all_is_over_is_no_news(jobs, qtbot, caplog) -> None:
    loading = Loading(jobs, fails_with=ValueError("half of a library"))
    jobs.stop()
    loading.end()
    assert caplog.text == ""


def test_a_file_that_is_owed_waits_for_what_is_unattended(jobs, qtbot) -> None:
    loading = Loading(jobs)
    jobs.ask("file", partial(loading.rest.append, "file"), owed=True)
    threading.Timer(0.2, loading.gate.set).start()
    jobs.stop()
    assert loading.rest == ["answer", "file"]


def test_threads_take_short_turns_while_the_worker_is_at_it(jobs, qtbot) -> None:
    usual = sys.getswitchinterval()
    seen: list[float] = []

    def steps():
        seen.append(sys.getswitchinterval())
        yield 1

    jobs.ask("look", lambda: seen.append(sys.getswitchinterval()))
    qtbot.waitUntil(lambda: jobs.is_settled, timeout=5000)
    assert jobs.start(steps)
    qtbot.waitUntil(lambda: jobs.is_settled and not jobs.has_long_job, timeout=5000)
    assert len(seen) == 2
    assert all(interval < usual / 10 for interval in seen)
    with short_turns, short_turns:
        pass
    assert sys.getswitchinterval() == usual
