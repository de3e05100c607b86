"""The guard of the tiers: when a medium is left alone, when it is asked again, and what is no longer trusted."""

from __future__ import annotations

import threading

import pytest

from reconv.cache.tiers.guard import GuardedTier, Pause


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Medium(GuardedTier):
    """A dictionary that fails when it is told to, and counts how often it is asked."""

    def __init__(self, kept: dict[bytes, bytes] | None = None) -> None:
        super().__init__(timeout_seconds=1.0, largest_bytes=100)
        self.kept = {} if kept is None else kept
        self.clock = Clock()
        self._reading, self._writing = Pause(1.0, self.clock), Pause(1.0, self.clock)
        self.down: set[str] = set()
        self.asked: list[str] = []

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.down:
            raise OSError(f"{what} is down")

    def _read(self, name: bytes) -> bytes | None:
        self._ask("read")
        return self.kept.get(name)

    def _write(self, name: bytes, payload: bytes) -> None:
        self._ask("write")
        self.kept[name] = payload

    def _delete(self, name: bytes) -> bool:
        self._ask("delete")
        return self.kept.pop(name, None) is not None

    def _clear(self) -> None:
        self._ask("clear")
        self.kept.clear()

    def _close(self) -> None:
        self._ask("close")

    def _after_fork(self) -> None:
        raise AssertionError("nobody forked")


def test_a_failure_is_a_miss_and_is_counted() -> None:
    tier = Medium({b"a": b"1"})
    assert (tier.failures, tier.last_failure) == (0, "")
    tier.down = {"read", "write", "delete"}
    assert tier.get(b"a") is None
    tier.put(b"b", b"2")
    assert (tier.failures, tier.last_failure) == (2, "write is down")
    assert tier.delete(b"a") is False
    assert tier.asked == ["read", "write"], "writing has a pause now"


def test_pauses_double_up_to_64_timeouts_and_end_with_the_first_success() -> None:
    tier = Medium({b"a": b"1"})
    tier.down = {"read"}
    tier.get(b"a")
    for pause in (1, 2, 4, 8, 16, 32, 64, 64, 64):
        before = len(tier.asked)
        tier.clock.now += pause - 0.01
        assert tier.get(b"a") is None
        assert len(tier.asked) == before, f"within the pause of {pause} seconds"
        tier.clock.now += 0.01
        assert tier.get(b"a") is None
        assert len(tier.asked) == before + 1
    tier.down = set()
    tier.clock.now += 64
    assert tier.get(b"a") == b"1"
    assert tier.get(b"a") == b"1"
    tier.down = {"read"}
    tier.get(b"a")
    tier.down = set()
    tier.clock.now += 1
    assert tier.get(b"a") == b"1", "the next pause is a short one again"


def test_reading_and_writing_pause_apart() -> None:
    tier = Medium({b"a": b"1"})
    tier.down = {"write"}
    tier.put(b"b", b"2")
    assert tier.get(b"a") == b"1"
    tier.down = {"read"}
    tier.get(b"a")
    tier.clock.now += 1
    tier.put(b"b", b"2")
    assert tier.kept[b"b"] == b"2"


def test_failures_of_requests_that_were_under_way_together_count_once() -> None:
    pause = Pause(1.0, clock := Clock())
    begun = [pause.begin() for _ in range(10)]
    for number in begun:
        assert number is not None
        pause.failed(number)
    clock.now = 1.0
    assert pause.begin() is not None, "ten failures at once are no row of ten"


def test_one_request_goes_ahead_after_a_pause() -> None:
    pause = Pause(1.0, clock := Clock())
    pause.failed(0)
    clock.now = 1.0
    first = pause.begin()
    assert first is not None
    assert pause.begin() is None
    pause.succeeded(first)
    assert pause.begin() is not None


def test_a_late_success_from_before_the_failure_does_not_end_the_pause() -> None:
    pause = Pause(1.0, Clock())
    slow, failing = pause.begin(), pause.begin()
    assert slow is not None
    assert failing is not None
    pause.failed(failing)
    pause.succeeded(slow)
    assert pause.begin() is None


def test_a_name_whose_new_value_was_not_written_is_not_read() -> None:
    tier = Medium({b"a": b"old", b"b": b"other"})
    tier.down = {"write"}
    tier.put(b"a", b"new")
    assert tier.get(b"a") is None
    assert tier.get(b"b") == b"other"
    tier.down = set()
    assert tier.get(b"a") is None, "also within the pause"
    tier.clock.now += 1
    assert tier.get(b"a") is None
    assert b"a" not in tier.kept, "the old value was deleted as soon as that was possible"
    tier.put(b"a", b"new")
    assert tier.get(b"a") == b"new"


def test_a_name_that_was_not_deleted_is_not_read() -> None:
    tier = Medium({b"a": b"old"})
    tier.down = {"delete"}
    assert tier.delete(b"a") is False
    assert tier.get(b"a") is None
    tier.down = set()
    tier.clock.now += 1
    tier.put(b"a", b"new")
    assert tier.get(b"a") == b"new"


def test_a_clear_that_failed_is_made_good_before_anything_is_read_or_written() -> None:
    tier = Medium({b"a": b"old"})
    tier.down = {"clear"}
    tier.clear()
    assert tier.get(b"a") is None
    tier.put(b"b", b"new")
    assert tier.kept == {b"a": b"old"}
    tier.down = set()
    assert tier.get(b"a") is None, "within the pause"
    tier.clock.now += 1
    assert tier.get(b"a") is None
    assert tier.kept == {}
    tier.put(b"b", b"new")
    assert tier.get(b"b") == b"new"


def test_a_payload_that_is_too_large_takes_the_old_value_along() -> None:
    tier = Medium({b"a": b"old"})
    tier.put(b"a", bytes(101))
    assert tier.kept == {}
    tier.put(b"a", bytes(100))
    assert tier.get(b"a") == bytes(100)
    assert tier.failures == 0


def test_the_names_not_trusted_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconv.cache.tiers.guard._MOST_DOUBTS", 3)
    tier = Medium({b"%d" % number: b"old" for number in range(5)})
    tier.down = {"write"}
    for number in range(5):
        tier.put(b"%d" % number, b"new")
    assert [tier.get(b"%d" % number) for number in range(5)] == [b"old", b"old", None, None, None]


def test_closing_lets_go_even_when_that_fails() -> None:
    tier = Medium({b"a": b"1"})
    tier.down = {"close"}
    tier.close()
    tier.close()
    assert tier.get(b"a") is None
    assert tier.asked == ["close"]


def test_failures_of_many_threads_are_all_counted() -> None:
    tier = Medium()
    tier._reading = Pause(0.0, tier.clock)
    tier.down = {"read"}
    threads = [threading.Thread(target=lambda: [tier.get(b"a") for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tier.failures == len(tier.asked) == 800


def test_an_interrupt_is_not_a_failure_of_the_medium() -> None:
    tier = Medium()
    tier._read = lambda name: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        tier.get(b"a")
    assert tier.failures == 0
