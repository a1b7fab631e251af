"""A worker is taken for hung by the time that the build itself has had since its last picture."""

import multiprocessing
import os
import signal

import pytest

from dataset_builders.shard_progress import ShardProgress


class Clock:
    """Seconds that a test lets go by."""

    seconds = 1e6

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that would have been sent: (process, signal)."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append((process, number)))
    return sent


def look(progress: ShardProgress, clock: Clock, seconds: float, every: float = 1.0) -> None:
    """Look for hung workers, limit 100 s, as often as a build does."""
    for _ in range(int(seconds / every)):
        clock.seconds += every
        progress.kill_hung(100.0)


def test_only_a_worker_without_a_picture_for_too_long_is_killed(killed: list[tuple[int, int]]) -> None:
    clock = Clock()
    progress = ShardProgress(multiprocessing.get_context("spawn"), [7, 8, 9, 10], clock)
    for shard in (7, 8, 9):
        progress.begin(shard)
    progress.end(9)
    progress.add(8)
    look(progress, clock, 99)
    progress.add(7)
    look(progress, clock, 3)
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert progress.hung == {8: 1}
    look(progress, clock, 90)
    assert len(killed) == 1
    assert progress.rendered == 2
    assert progress.begun == {7: 1, 8: 1}


def test_a_pause_of_the_build_itself_does_not_count(killed: list[tuple[int, int]]) -> None:
    clock = Clock()
    progress = ShardProgress(multiprocessing.get_context("spawn"), [0], clock)
    progress.begin(0)
    look(progress, clock, 90)
    clock.seconds += 1e5
    progress.kill_hung(100.0)
    assert not killed
    look(progress, clock, 10)
    assert len(killed) == 1
