"""The policies one by one: the rules of their papers on few keys, in bytes, after removals and changes of the limit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable

import pytest

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key
from reconv.cache.policies.arc import ARC
from reconv.cache.policies.gdsf import GDSF
from reconv.cache.policies.s3fifo import S3FIFO
from reconv.cache.policies.sketch import MOST, SAMPLE, Sketch
from reconv.cache.policies.spread import spread
from reconv.cache.policies.wtinylfu import WTinyLFU


def ask(ledger: Ledger, keys: Iterable[Key], size: int = 1, cost: float = 0.0) -> list[Key]:
    """Requests in order: who left for them."""
    left: list[Key] = []
    for key in keys:
        if key in ledger.sizes:
            ledger.policy.hit(key)
        else:
            left += ledger.insert(key, size, cost) or []
    return left


def order(ledger: Ledger) -> str:
    """Keys of one letter, in the order in which they leave when all have to; `.` takes their place."""
    return "".join(map(str, ledger.insert(".", ledger.capacity_bytes, 0.0) or []))


@pytest.mark.parametrize(
    ("policy", "requests", "leave"),
    [
        ("fifo", "abcdaab", "abcd"),
        ("lru", "abcdaab", "cdab"),
        ("lfu", "abcdaabdd", "cbad"),  # a reached three before d
        ("lfu", "abcdbacd", "bacd"),  # all reached two, b first
        ("sieve", "abcdac", "bdac"),  # the hand spares a and c once
        ("gdsf", "abcdaab", "cdba"),  # at equal costs: by requests, then by time
    ],
)
def test_order_of_leaving(policy: str, requests: str, leave: str) -> None:
    ledger = Ledger(4, POLICIES[policy])
    assert ask(ledger, requests) == []
    assert order(ledger) == leave


# --- LFU ---


def test_lfu_finds_the_next_count_when_a_bucket_is_empty() -> None:
    ledger = Ledger(6, POLICIES["lfu"])
    ask(ledger, "abbbbccccccd")
    ledger.remove("a")
    ledger.remove("d")  # the bucket of one request is gone
    assert ask(ledger, "x", size=5) == ["b"]  # and so is the one of four now
    assert ledger.sizes.keys() == {"c", "x"}
    assert ask(ledger, "xxxxxxx") == []
    assert ask(ledger, "y", size=1) == ["c"]


def test_lfu_forgets_the_count_of_who_left() -> None:
    ledger = Ledger(2, POLICIES["lfu"])
    assert ask(ledger, "aaabbbbc") == ["a"]
    assert ask(ledger, "a") == ["c"]
    assert ask(ledger, "d") == ["a"], "a starts again at one"


# --- SIEVE ---


def test_sieve_hand_survives_and_newcomers_enter_behind_it() -> None:
    ledger = Ledger(4, POLICIES["sieve"])
    ask(ledger, "abcda")
    assert ask(ledger, "e") == ["b"]  # a is spared, the hand is at c now
    ask(ledger, "ac")
    assert ask(ledger, "f") == ["d"]  # not a, which the hand has passed; c is spared
    assert ask(ledger, "g") == ["e"]


def test_sieve_hand_turns_at_the_head_at_once() -> None:
    ledger = Ledger(3, POLICIES["sieve"])
    ask(ledger, "abcab")
    assert ask(ledger, "d") == ["c"]  # at the head: the next look is at the tail, not at d
    assert ask(ledger, "e") == ["a"]


def test_sieve_hand_goes_on_when_its_entry_is_removed() -> None:
    ledger = Ledger(4, POLICIES["sieve"])
    ask(ledger, "abcda")
    assert ask(ledger, "e") == ["b"]
    ledger.remove("c")  # where the hand is
    assert ask(ledger, "f") == []
    assert ask(ledger, "g") == ["d"]
    ledger.remove("e")
    ledger.remove("f")
    ledger.remove("g")
    assert order(ledger) == "a"


# --- S3-FIFO ---


def s3fifo(ledger: Ledger) -> tuple[str, str, str]:
    policy = ledger.policy
    assert isinstance(policy, S3FIFO)
    small, main, ghosts = ("".join(map(str, queue.order)) for queue in (policy._small, policy._main, policy._ghosts))
    return small, main, ghosts


def test_s3fifo_overflows_into_the_main_queue_before_the_first_eviction() -> None:
    ledger = Ledger(20, S3FIFO)
    ask(ledger, "abcdefghijklmnopqrst")
    assert s3fifo(ledger) == ("ab", "cdefghijklmnopqrst", "")
    assert ask(ledger, "u") == ["a"]
    assert s3fifo(ledger) == ("bu", "cdefghijklmnopqrst", "a")


def test_s3fifo_promotes_at_two_and_starts_there_at_zero() -> None:
    ledger = Ledger(20, S3FIFO)
    ask(ledger, "abcdefghijklmnopqrst" + "aaa" + "b")
    assert ask(ledger, "u") == ["b"]  # a goes to the main queue, and then one really leaves
    assert s3fifo(ledger) == ("u", "cdefghijklmnopqrsta", "b")
    assert ask(ledger, "v") == ["c"]  # the main queue is over nine tenths
    assert s3fifo(ledger) == ("uv", "defghijklmnopqrsta", "b"), "who leaves the main queue is no ghost"
    ask(ledger, "ddddd")
    assert ask(ledger, "b") == ["u"]
    assert s3fifo(ledger) == ("v", "defghijklmnopqrstab", "u"), "a ghost that returns enters the main queue"
    assert ask(ledger, "w") == ["e"]
    assert s3fifo(ledger)[1] == "fghijklmnopqrstabd", "and d goes back to the end"
    assert isinstance(ledger.policy, S3FIFO)
    assert (ledger.policy._asked["d"], ledger.policy._asked["a"]) == (2, 0)


def test_s3fifo_counts_bytes() -> None:
    ledger = Ledger(100, S3FIFO)
    ask(ledger, "abc", size=8)
    assert s3fifo(ledger) == ("ab", "c", "")  # after a, 8 of 10 bytes are in use
    ask(ledger, "d", size=76)
    assert s3fifo(ledger) == ("ab", "cd", "")
    assert ask(ledger, "e", size=1) == ["a"]
    assert ask(ledger, "f", size=96) == ["b", "e", "c", "d"]
    assert s3fifo(ledger) == ("f", "", "abe")
    ask(ledger, "g", size=95)  # what is larger than all ghosts may be is none
    assert s3fifo(ledger) == ("g", "", "abe")
    ledger.resize(10)
    assert s3fifo(ledger) == ("", "", "be"), "nine bytes of ghosts"


# --- ARC ---


def arc(ledger: Ledger) -> tuple[str, str, str, str]:
    policy = ledger.policy
    assert isinstance(policy, ARC)
    t1, t2, b1, b2 = (
        "".join(map(str, queue.order)) for queue in (policy.t1, policy.t2, policy.b1, policy.b2)
    )  # fmt: skip
    return t1, t2, b1, b2


def p_bytes(ledger: Ledger) -> float:
    assert isinstance(ledger.policy, ARC)
    return ledger.policy.p * ledger.policy.unit


def test_arc_drops_the_oldest_of_a_full_t1_without_a_ghost() -> None:
    ledger = Ledger(3, ARC)
    assert ask(ledger, "abcd") == ["a"]
    assert arc(ledger) == ("bcd", "", "", "")


def test_arc_moves_p_by_the_ghosts() -> None:
    ledger = Ledger(4, ARC)
    ask(ledger, "aabbcd" + "e")  # p is 0: T1 gives
    assert arc(ledger) == ("de", "ab", "c", "")
    assert ask(ledger, "c") == ["d"]  # the ghost raises p by one; T1 has two
    assert (arc(ledger), p_bytes(ledger)) == (("e", "abc", "d", ""), 1)
    assert ask(ledger, "f") == ["a"]  # T1 has one, no more than p: T2 gives
    assert arc(ledger) == ("ef", "bc", "d", "a")
    assert ask(ledger, "a") == ["e"]  # lowers p to 0 again
    assert (arc(ledger), p_bytes(ledger)) == (("f", "bca", "de", ""), 0)


def test_arc_takes_t1_at_equality_only_for_a_ghost_of_b2() -> None:
    for newcomer, leaves in (("x", "a"), ("z", "e")):
        ledger = Ledger(4, ARC)
        ask(ledger, "aabbccde")
        policy = ledger.policy
        assert isinstance(policy, ARC)
        policy.p = 1.0 if newcomer == "x" else 2.0
        assert arc(ledger) == ("e", "abc", "d", "")
        policy.b2.push("z", 1)  # a ghost of B2 lowers p to one
        assert ask(ledger, newcomer) == [leaves]


def test_arc_in_bytes_makes_room_for_the_newcomer_among_the_ghosts() -> None:
    ledger = Ledger(100, ARC)
    ask(ledger, "aa", size=40)
    assert ask(ledger, "bcd", size=30) == ["b"]
    assert arc(ledger) == ("cd", "a", "b", "")
    assert ask(ledger, "e", size=25) == ["c"]
    assert arc(ledger) == ("de", "a", "c", ""), "|T1| + |B1| + 25 was 115: b is forgotten"
    assert ask(ledger, "f", size=45) == ["d", "e"]
    assert arc(ledger) == ("f", "a", "de", ""), "now it is 100, and no more"
    assert ask(ledger, "g", size=80) == ["f", "a"]
    assert arc(ledger) == ("g", "", "", "a"), "d and e are forgotten, and f becomes no ghost"


def test_arc_in_bytes_keeps_its_bounds_when_a_ghost_returns_larger() -> None:
    ledger = Ledger(100, ARC)
    ask(ledger, "aabbccdd", size=25)
    assert ask(ledger, "x", size=40) == ["a", "b"]
    assert arc(ledger) == ("x", "cd", "", "ab")
    assert ask(ledger, "a", size=90) == ["x", "c", "d"]
    assert arc(ledger) == ("", "a", "x", "cd"), "180 of 200 bytes: there is no room for b"


def test_arc_shrinks_and_grows() -> None:
    ledger = Ledger(10, ARC)
    ask(ledger, "aabbcdefghijkl")
    assert arc(ledger) == ("efghijkl", "ab", "cd", "")
    assert ask(ledger, "c") == ["e"]
    assert p_bytes(ledger) == 1
    assert ledger.resize(4) == ["f", "g", "h", "i", "j", "k"]
    assert arc(ledger) == ("l", "abc", "ijk", ""), "T1 and its ghosts are at most four"
    ledger.resize(100)
    assert ask(ledger, "mnopq") == []
    assert arc(ledger) == ("lmnopq", "abc", "ijk", "")


# --- W-TinyLFU ---


def wtinylfu(ledger: Ledger) -> tuple[str, str, str]:
    policy = ledger.policy
    assert isinstance(policy, WTinyLFU)
    queues = (policy._window, policy._probation, policy._protected)
    window, probation, protected = ("".join(map(str, queue.order)) for queue in queues)
    return window, probation, protected


def test_wtinylfu_keeps_the_frequent_out_of_the_reach_of_a_scan() -> None:
    ledger = Ledger(100, WTinyLFU)
    ask(ledger, [*range(100), *range(80)])
    ask(ledger, range(1000, 3000))
    assert sum(key in ledger.sizes for key in range(80)) == 79, "as many as are protected"


def test_wtinylfu_the_more_frequent_stays_and_a_tie_is_the_victims() -> None:
    ledger = Ledger(4, WTinyLFU)
    ask(ledger, "abcd")
    assert wtinylfu(ledger) == ("d", "abc", "")
    assert ask(ledger, "e") == ["d"]  # both were asked for once
    ask(ledger, "ee")
    assert ask(ledger, "f") == ["a"]  # e three times
    assert wtinylfu(ledger) == ("f", "bce", "")


def test_wtinylfu_protects_four_fifths_of_the_main_part() -> None:
    ledger = Ledger(11, WTinyLFU)
    ask(ledger, "abcdefghijk")
    assert wtinylfu(ledger) == ("k", "abcdefghij", "")
    ask(ledger, "abcdefgh")
    assert wtinylfu(ledger) == ("k", "ij", "abcdefgh")
    ask(ledger, "ai")
    assert wtinylfu(ledger) == ("k", "jb", "cdefghai")


def test_wtinylfu_takes_what_is_larger_than_its_window() -> None:
    ledger = Ledger(1000, WTinyLFU)  # a window of ten bytes
    assert ask(ledger, "abcd", size=250) == []
    assert wtinylfu(ledger) == ("d", "abc", "")
    ask(ledger, "aabbcc")
    assert ask(ledger, "efgh", size=250) == ["d", "e", "f", "g"], "one after the other through the window"
    assert ask(ledger, "x", size=4) == ["h"]
    assert ask(ledger, "y", size=4) == []
    assert wtinylfu(ledger)[0] == "xy"
    assert ledger.resize(300) == ["x", "y", "a", "b"], "the window is too large as well, and they are asked for less"
    assert ledger.resize(3) == ["c"]


def test_sketch_is_never_too_low_and_seldom_too_high() -> None:
    sketch, rng = Sketch(1024), random.Random(0)
    counts: dict[int, int] = {}
    for _ in range(SAMPLE * 1024 - 1):
        key = int(5000 * rng.random() ** 3)
        counts[key] = counts.get(key, 0) + 1
        sketch.add(spread(key))
    errors = [sketch.estimate(spread(key)) - min(count, MOST + 1) for key, count in counts.items()]
    assert min(errors) >= 0
    assert sum(errors) / len(errors) < 0.2
    assert sum(sketch.estimate(spread(key)) for key in range(10**6, 10**6 + 1000)) < 100


def test_sketch_counts_to_sixteen_halves_and_grows() -> None:
    sketch = Sketch(16)
    assert sketch.estimate(spread("a")) == 0
    estimates = []
    for _ in range(18):
        sketch.add(spread("a"))
        estimates.append(sketch.estimate(spread("a")))
    assert estimates == [*range(1, 17), 16, 16]
    sketch.add(spread("b"))
    sketch.grow()
    assert [sketch.estimate(spread(key)) for key in "ab"] == [16, 1]
    for number in range(SAMPLE * 32 - 19):
        sketch.add(spread(number % 3))
    assert [sketch.estimate(spread(key)) for key in "ab"] == [7, 0], "half, and the doorkeeper forgot"


def test_sketch_grows_with_what_is_held() -> None:
    ledger = Ledger(1000, WTinyLFU)
    ask(ledger, range(1000))
    assert isinstance(ledger.policy, WTinyLFU)
    assert ledger.policy._sketch.entries == 1024


# --- GDSF ---


def test_gdsf_weighs_seconds_requests_and_bytes() -> None:
    ledger = Ledger(100, GDSF)
    for key, size, cost, hits in (("a", 10, 1.0, 0), ("b", 10, 3.0, 0), ("c", 20, 1.0, 0), ("d", 10, 1.0, 4)):
        ask(ledger, [key], size, cost)
        ask(ledger, [key] * hits)
    assert order(ledger) == "cabd"


def test_gdsf_lets_everybody_fade() -> None:
    ledger = Ledger(10, GDSF)
    ask(ledger, ["dear"], 1, 50.0)
    others = range(1000)
    gone = next(number for number in others if "dear" in ask(ledger, [number], 1, 1.0))
    assert 9 * 40 < gone < 9 * 60, "after about fifty rounds of those that cost 1"


def test_gdsf_counts_unknown_costs_as_equal() -> None:
    ledger = Ledger(4, GDSF)
    ask(ledger, "abcdb")
    assert order(ledger) == "acdb"


def test_gdsf_takes_the_mean_for_an_unknown_cost() -> None:
    ledger = Ledger(5, GDSF)
    ask(ledger, "a", cost=0.001)
    ask(ledger, "b", cost=0.003)
    ask(ledger, "c")  # 0.002
    ask(ledger, "d", cost=0.0025)
    assert order(ledger) == "acdb"


def test_gdsf_first_known_cost_gives_the_unit() -> None:
    ledger = Ledger(4, GDSF)
    ask(ledger, "xyzxyzabcda")  # evictions too: L is above 0
    ask(ledger, "abcd")
    ask(ledger, "e", cost=1e-6)  # no less than each of the others once counted
    ask(ledger, "ee")
    assert "e" not in ask(ledger, "fgh", cost=1e-6)


def test_gdsf_heap_is_bounded_by_what_is_held() -> None:
    ledger = Ledger(100, GDSF)
    rng = random.Random(0)
    for number in range(10_000):
        ask(ledger, [number, *rng.choices(list(ledger.sizes) or [number], k=3)])
        if rng.random() < 0.7:
            ledger.remove(rng.choice(list(ledger.sizes)))
        assert isinstance(ledger.policy, GDSF)
        assert len(ledger.policy._heap) <= 2 * 100 + 65


# --- keys ---


def test_spread_is_of_the_value() -> None:
    assert spread(1) == spread(1.0) == spread(True)
    assert spread(("a", 1, None)) == spread(("a", 1.0, None))
    numbers: list[Key] = [0, 1, 2**70, None]
    texts: list[Key] = ["", b"", "a", b"a", "b", "\ud800"]
    tuples: list[Key] = [(), ("a",), ("a", "b"), ("b", "a"), (("a",), "b")]
    keys = numbers + texts + tuples
    assert len(set(map(spread, keys))) == len(keys)
    assert all(0 <= spread(key) < 2**64 for key in keys)
    assert len({spread(number) & 1023 for number in range(0, 1024 * 4096, 4096)}) > 600, "also of round numbers"


SCRIPT = """
import random
from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES

for name, make in POLICIES.items():
    ledger, rng, left = Ledger(300, make), random.Random(0), []
    for at in range(4000):
        number = int(300 * rng.random() ** 2) + at // 40
        key = [f"key {number}", f"key {number}".encode(), ("key", str(number), None)][number % 3]
        if key in ledger.sizes:
            ledger.policy.hit(key)
        else:
            left += ledger.insert(key, number % 9 + 1, number % 5 / 1000)
    print(name, len(left), left)
"""


def test_decisions_are_the_same_in_every_process() -> None:
    """Also for text, whose `hash` is another one in every process."""
    seen = set()
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert [line.split()[0] for line in run.stdout.splitlines()] == list(POLICIES)
        seen.add(run.stdout)
    assert len(seen) == 1
