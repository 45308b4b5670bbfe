"""Random numbers for ids, which neither ``random.seed`` in the application nor a fork repeats."""

from __future__ import annotations

import random

from obs_core._safety.fork_watch import fork_watch


class _RandomNumbers(random.Random):
    """A generator of its own in each process. Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        fork_watch.call_in_child(self.draw_new_seed)

    def draw_new_seed(self) -> None:
        """Seed from the operating system; Python itself does this only after its own forks."""
        self.seed()

    def bits(self, count: int) -> int:
        """Return a random number of `count` bits."""
        fork_watch.notice()
        return self.getrandbits(count)

    def nonzero(self, bits: int) -> int:
        """Return a random number of `bits` bits that is not 0."""
        while not (number := self.bits(bits)):
            pass
        return number


random_numbers = _RandomNumbers()
