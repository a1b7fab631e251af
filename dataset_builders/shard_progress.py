"""How far the workers of a build are, in memory that they share with it and without locks.

A worker that is killed while it holds a lock would leave the build waiting for ever; here every number has one writer.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import BaseContext

_UNTOUCHED, _BEGUN, _DONE = range(3)
# Longer than a build waits between two looks: it was away meanwhile (Ctrl-Z, a paused job), and its workers, too.
_LONGEST_WAIT = 5.0  # seconds


class ShardProgress:
    """Pictures rendered of each shard, by whom, and how long ago the last one was.

    Args:
        context: of the processes that share this.
        shards: their numbers.
        clock: seconds, from any start.

    Attributes:
        hung: shards whose workers `kill_hung` has killed -> pictures rendered.
    """

    def __init__(
        self, context: BaseContext, shards: Sequence[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.shards = list(shards)
        self.hung: dict[int, int] = {}
        self._places = {shard: place for place, shard in enumerate(self.shards)}
        self._states = context.RawArray("q", len(self.shards))
        self._pictures = context.RawArray("q", len(self.shards))
        self._workers = context.RawArray("q", len(self.shards))
        self._stopped = context.RawValue("b", 0)
        self._clock = clock
        self._last_look = clock()
        self._seen = [(_UNTOUCHED, 0)] * len(self.shards)
        self._waited = [0.0] * len(self.shards)

    def begin(self, shard: int) -> None:
        """This process, a worker, begins with a shard."""
        place = self._places[shard]
        self._workers[place] = os.getpid()
        self._states[place] = _BEGUN

    def add(self, shard: int) -> None:
        """One more picture is rendered."""
        self._pictures[self._places[shard]] += 1

    def end(self, shard: int) -> None:
        """A shard is on disk."""
        self._states[self._places[shard]] = _DONE

    def stop(self) -> None:
        """Ask the workers to leave off after the picture they are at."""
        self._stopped.value = 1

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return bool(self._stopped.value)

    @property
    def rendered(self) -> int:
        """Pictures of all shards."""
        return sum(self._pictures)

    @property
    def begun(self) -> dict[int, int]:
        """Shards that are begun and not on disk -> pictures rendered."""
        return {shard: self._pictures[place] for shard, place in self._places.items() if self._is_begun(place)}

    def kill_hung(self, picture_seconds: float) -> None:
        """End every worker that has been at one picture (or at writing its shard) for longer; call this often.

        Time counts as long as this process has it too, so that a build that was paused goes on.
        """
        now = self._clock()
        elapsed, self._last_look = min(now - self._last_look, _LONGEST_WAIT), now
        for shard, place in self._places.items():
            seen = self._states[place], self._pictures[place]
            self._waited[place] = self._waited[place] + elapsed if seen == self._seen[place] else 0.0
            self._seen[place] = seen
            if self._is_begun(place) and self._waited[place] > picture_seconds and shard not in self.hung:
                self.hung[shard] = self._pictures[place]
                os.kill(self._workers[place], signal.SIGKILL)

    def _is_begun(self, place: int) -> bool:
        return bool(self._states[place] == _BEGUN)
