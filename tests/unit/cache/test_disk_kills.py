"""The disk tier, killed in mid-write: it opens again, no value is wrong, stale or lost, and the test would see it."""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from reconv.cache.packing import pack, unpack
from reconv.cache.tiers import DiskTier
from reconv.cache.tiers.guard import GuardedTier
from tests.unit.apart import apart

MIB = 1 << 20
TIMEOUT = 5.0
NAMES = [b"name %d" % number for number in range(12)]
PER_ROUND = 1_000_000  # versions
Opener: TypeAlias = Callable[[Path], GuardedTier]
_REPORT = struct.Struct("<cBQ")  # begun or done, which name, which version


class Naive(GuardedTier):
    """What must not pass: a file per value, written in place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(TIMEOUT, MIB)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _read(self, name: bytes) -> bytes | None:
        path = self._folder / name.decode()
        return path.read_bytes() if path.exists() else None

    def _write(self, name: bytes, payload: bytes) -> None:
        with (self._folder / name.decode()).open("wb") as file:
            for start in range(0, len(payload), 4096):
                file.write(payload[start : start + 4096])

    def _delete(self, name: bytes) -> bool:
        raise NotImplementedError

    _clear = _close = _after_fork = lambda self: None


def open_roomy(folder: Path) -> GuardedTier:
    return DiskTier(folder, 32 * MIB, timeout_seconds=TIMEOUT)


def open_tight(folder: Path) -> GuardedTier:
    return DiskTier(folder, MIB, timeout_seconds=TIMEOUT)


def _contents(name: bytes, version: int) -> bytes:
    return pack(np.full(100 + version * 7919 % 30_000, version), 1.0, name)


def _version(name: bytes, payload: bytes) -> int | None:
    """None: not what somebody put under this name."""
    found = unpack(payload, name)
    if found is None or not np.array_equal(found.value, np.full(100 + found.value[0] * 7919 % 30_000, found.value[0])):
        return None
    return int(found.value[0])


def _write_until_killed(tier: GuardedTier, seed: int, report: int) -> None:
    chance, version = random.Random(seed), seed * PER_ROUND
    while True:
        which, version = chance.randrange(len(NAMES)), version + 1
        payload = _contents(NAMES[which], version)
        os.write(report, _REPORT.pack(b"b", which, version))
        tier.put(NAMES[which], payload)
        os.write(report, _REPORT.pack(b"d", which, version))
        if tier.failures:
            os._exit(3)


def _killed(opener: Opener, folder: Path, seed: int, most_seconds: float) -> tuple[dict[bytes, int], bool]:
    """The last version of each name whose put had returned, and whether the kill came in the middle of another one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _write_until_killed(opener(folder), seed, writer)
    os.close(writer)
    time.sleep(random.Random(seed).uniform(0, most_seconds))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "the writer itself failed"
    with os.fdopen(reader, "rb") as file:
        reports = list(_REPORT.iter_unpack(file.read()))
    done = {NAMES[which]: version for what, which, version in reports if what == b"d"}
    return done, bool(reports) and reports[-1][0] == b"b"


def kill_often(opener: Opener, root: Path, kills: int, per_folder: int) -> dict[str, Any]:
    """Kill a writer `kills` times, with a new folder after every `per_folder`, and look at everything after each."""
    sums: dict[str, Any] = {"in_mid_write": 0, "read": 0, "wrong": 0, "stale": 0, "lost": 0, "failures": 0, "said": ""}
    lasting: GuardedTier | None = None
    for turn in range(kills):
        folder = root / str(turn // per_folder)
        if turn % per_folder == 0:
            done: dict[bytes, int] = {}
        elif turn % per_folder == per_folder // 2:
            lasting = opener(folder)  # from here on somebody else has it open when the writer dies
        last, in_mid_write = _killed(opener, folder, turn, 0.012 if per_folder == 1 else 0.03)
        done |= last
        sums["in_mid_write"] += in_mid_write
        fresh = opener(folder)
        for tier in (fresh, lasting) if lasting else (fresh,):
            for name in NAMES:
                payload = tier.get(name)
                if payload is None:
                    sums["lost"] += name in done
                    continue
                version = _version(name, payload)
                sums["read"] += 1
                sums["wrong"] += version is None
                sums["stale"] += version is not None and version < done.get(name, 0)
            sums["failures"] += tier.failures
            sums["said"] = sums["said"] or tier.last_failure
        fresh.close()
        if lasting and turn % per_folder == per_folder - 1:
            lasting.close()
            lasting = None
    return sums


@pytest.mark.parametrize(
    ("opener", "kills", "per_folder"),
    [(open_roomy, 45, 15), (open_tight, 45, 15), (open_roomy, 30, 1)],
    ids=["with room", "while evicting", "while starting"],
)
def test_killed_in_mid_write(tmp_path: Path, opener: Any, kills: int, per_folder: int) -> None:
    sums = apart(kill_often, opener, tmp_path, kills, per_folder)
    if per_folder > 1:
        assert sums["in_mid_write"] > kills / 3
        assert sums["read"] > kills
    assert (sums["wrong"], sums["stale"], sums["failures"], sums["said"]) == (0, 0, 0, "")
    if opener is open_roomy:
        assert sums["lost"] == 0, "what put had returned for is there"


def test_the_killing_finds_what_a_naive_tier_gets_wrong(tmp_path: Path) -> None:
    sums = apart(kill_often, Naive, tmp_path, 20, 5)
    assert sums["wrong"] > 0
