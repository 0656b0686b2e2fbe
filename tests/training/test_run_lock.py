"""Looking at a lock: it disturbs nobody, whoever looks and however often."""

import fcntl
from concurrent.futures import ThreadPoolExecutor

import pytest

from tltool.training import run_lock
from tltool.training.run_lock import is_held, lock_of


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_is_held_while_somebody_has_it(tmp_path, monkeypatch, shared):
    if not shared:
        monkeypatch.setattr(run_lock, "fcntl", None)
    path = tmp_path / ".lock"
    assert is_held(path) is False
    assert not path.exists()
    with lock_of(path).acquire():
        assert is_held(path) is True
    assert is_held(path) is False


def test_those_who_look_at_once_do_not_take_each_other_for_a_holder(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(lambda _: is_held(path), range(400)))


def test_a_holder_is_not_kept_out_by_those_who_look(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    with ThreadPoolExecutor(4) as threads:
        looks = [threads.submit(is_held, path) for _ in range(400)]
        for _ in range(50):
            with lock_of(path).acquire(timeout=1):
                pass
        assert {look.result() for look in looks} <= {False, True}


@pytest.mark.parametrize("fault", [PermissionError(), OSError(37, "No locks available"), NotImplementedError()])
def test_a_file_system_that_cannot_tell(tmp_path, monkeypatch, fault):
    def refuse(*_):
        raise fault

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(run_lock, "_is_taken", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert is_held(tmp_path / ".lock") is None
    monkeypatch.setattr(run_lock, "fcntl", None)
    assert is_held(tmp_path / ".lock") is None
