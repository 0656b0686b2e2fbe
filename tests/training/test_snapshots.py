"""The last snapshots, kept over a restart, and the epochs after which the schedule's rate is lowest."""

import numpy as np
import pytest

from tltool.optimizers.schedules import build_schedule
from tltool.training.snapshots import Snapshots, ends_of_cycles


def weights(number):
    return [np.full((2, 2), number, np.float32), np.arange(3, dtype=np.float32) + number]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_last_ones_are_kept_as_they_were():
    snapshots = Snapshots(2)
    for number in range(4):
        given = weights(number)
        snapshots.add(given)
        given[0][...] = -1
    assert len(snapshots) == 2
    assert all(same(kept, weights(number)) for kept, number in zip(snapshots.members(), (2, 3), strict=True))


def test_a_restart_changes_nothing(tmp_path):
    snapshots = Snapshots(12)
    for number in range(11):  # of two digits: names sort otherwise than numbers
        snapshots.add(weights(number))
    np.savez(tmp_path / "state.npz", **snapshots.state())
    restored = Snapshots(12)
    restored.add(weights(99))
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        restored.restore(dict(arrays))
    assert len(restored) == 11
    assert all(same(a, b) for a, b in zip(restored.members(), snapshots.members(), strict=True))
    empty = Snapshots(2)
    empty.restore({})
    assert empty.members() == []


@pytest.mark.parametrize(("epochs", "cycles", "growth"), [(7, 3, 2.0), (12, 4, 1.0), (15, 4, 2.0), (13, 3, 3.0)])
def test_a_snapshot_is_taken_where_the_rate_is_lowest(epochs, cycles, growth):
    """Where cycles are whole epochs: after each of these the schedule begins again from its top."""
    steps = 10
    schedule = build_schedule("restarts", 1.0, epochs * steps, cycles=cycles, growth=growth)
    rates = np.array([float(schedule(step)) for step in range(epochs * steps)])
    restarts = np.flatnonzero(np.diff(rates) > 0.5) + 1
    expected = [*(restarts / steps), epochs]
    assert ends_of_cycles(epochs, cycles, growth) == expected


def test_a_cycle_that_ends_within_an_epoch_leaves_its_snapshot_before():
    assert ends_of_cycles(10, 3, 2.0) == [1, 4, 10]  # at 1.43, 4.29 and 10
    assert ends_of_cycles(10, 2, 1.0, warmup=0.2) == [6, 10]
    assert ends_of_cycles(2, 4, 1.0) == [1, 2]
    assert ends_of_cycles(1) == [1]
