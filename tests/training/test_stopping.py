"""Signals to end, between steps and outside them."""

import os
import signal
import time

import pytest

from hitsr.base.errors import ToBeContinuedError
from hitsr.training.stopping import ending_early, watched

pytestmark = pytest.mark.usefixtures("_heard_signals")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


def _send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
    for _ in range(1000):  # Python runs handlers between its own instructions
        time.sleep(0.001)


@pytest.mark.parametrize("name", SIGNALS)
def test_outside_steps_a_signal_ends_the_block_at_once_and_says_why(name: str) -> None:
    before = signal.getsignal(getattr(signal, name))
    with (
        pytest.raises(ToBeContinuedError, match="nothing to save"),
        ending_early("nothing to save"),
    ):
        _send(name)
    assert signal.getsignal(getattr(signal, name)) == before


@pytest.mark.parametrize("name", SIGNALS)
def test_between_steps_a_signal_is_noted_and_ends_nothing(name: str) -> None:
    with ending_early("not told"), watched() as is_asked_to_end:
        assert not is_asked_to_end()
        os.kill(os.getpid(), getattr(signal, name))
        deadline = time.monotonic() + 60
        while not is_asked_to_end() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert is_asked_to_end()
