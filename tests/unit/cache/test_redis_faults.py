"""The Redis tier with a server that is stopped, slow, empty, full or talks nonsense: right results, bounded waits."""

from __future__ import annotations

import itertools
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from reconv.cache.packing import pack
from reconv.cache.store import Cache
from reconv.cache.tiers import RedisTier
from reconv.errors import CacheError, MissingError
from tests.servers import HANG_SECONDS, OddServer, RedisServer
from tests.unit.cache.faults import KEYS, ask_all, comes_back, overwrite_all, right, within

SHORT = 0.05  # a timeout, and so the first pause after a failure


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    running.command("FLUSHALL")
    return running


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[RedisServer]:
    """A server to be stopped and halted."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def odd() -> Iterator[Callable[[Callable[[socket.socket], None]], OddServer]]:
    servers: list[OddServer] = []

    def make(answer: Callable[[socket.socket], None]) -> OddServer:
        servers.append(OddServer(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


# --- a server that goes away ---


def test_a_server_that_is_stopped_and_started_again_empty(spare: RedisServer) -> None:
    tier = RedisTier(spare.url, timeout_seconds=1.0)
    ask_all(tier)
    assert ask_all(tier) >= len(KEYS)
    assert tier.failures == 0
    spare.stop()
    assert ask_all(tier) == 0
    assert 0 < tier.failures < 6, "it is not asked at each of 48 requests and as many puts"
    spare.start()
    assert comes_back(tier)
    ask_all(tier)
    assert ask_all(tier) >= len(KEYS)
    tier.close()


def test_a_restart_between_two_requests_costs_nothing(spare: RedisServer) -> None:
    tier = RedisTier(spare.url, timeout_seconds=5.0)
    ask_all(tier)
    spare.stop()
    spare.start()
    ask_all(tier)
    assert ask_all(tier) >= len(KEYS)
    assert tier.failures == 0
    tier.close()


def test_a_server_that_does_not_answer_for_a_while(spare: RedisServer) -> None:
    tier = RedisTier(spare.url, timeout_seconds=SHORT)
    assert comes_back(tier)
    ask_all(tier)
    spare.halt()
    ask_all(tier)
    assert tier.failures > 0
    assert overwrite_all(tier, 2) == 2, "what fits into the memory"
    spare.go_on()
    assert comes_back(tier)
    assert within(lambda: overwrite_all(tier, 3) == len(KEYS)), "what it answers late is nobody's answer"
    tier.close()


def _listens(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def test_a_dead_server_costs_few_timeouts(odd: Callable[..., OddServer]) -> None:
    """It takes connections and says nothing: without a pause, 1000 requests would be 1000 connections."""
    silent = odd(_listens)
    tier = RedisTier(silent.url, timeout_seconds=SHORT)
    for number in range(1000):
        assert tier.get(b"%d" % number) is None
    assert 0 < tier.failures <= 6
    assert silent.connections <= 2 * tier.failures
    tier.close()


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tier = RedisTier(f"redis://127.0.0.1:{port}", timeout_seconds=SHORT)
    assert ask_all(tier) == 0
    assert "refused" in tier.last_failure
    tier.close()


def test_a_host_that_does_not_exist() -> None:
    tier = RedisTier("redis://no-such-host.invalid", timeout_seconds=SHORT)
    assert ask_all(tier) == 0
    assert tier.failures > 0
    tier.close()


# --- a server that talks nonsense ---


def _noise(seed: int) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        chance = random.Random(seed)
        while connection.recv(1 << 16):
            connection.sendall(chance.randbytes(chance.randrange(1, 5000)))

    return answer


def _says(*answers: bytes) -> Callable[[socket.socket], None]:
    """The same over and over, to whatever it is asked."""

    def answer(connection: socket.socket) -> None:
        for text in itertools.cycle(answers):
            if not connection.recv(1 << 16):
                return
            connection.sendall(text)

    return answer


NONSENSE = {
    **{f"noise {seed}": _noise(seed) for seed in range(6)},
    "wrong value": _says(b"$5\r\nhello\r\n"),
    "number": _says(b":7\r\n"),
    "ok": _says(b"+OK\r\n"),
    "list": _says(b"*2\r\n$1\r\na\r\n:1\r\n"),
    "deep list": _says(b"*1\r\n" * 100_000),
    "long list": _says(b"*1000000000\r\n"),
    "long text": _says(b"$100000000000\r\nabc"),
    "negative length": _says(b"$-7\r\nabc\r\n"),
    "length that is no number": _says(b"$abc\r\n"),
    "error": _says(b"-ERR no\r\n"),
    "loading": _says(b"-LOADING wait\r\n"),
    "not allowed": _says(b"-NOAUTH Authentication required.\r\n"),
    "error that is no text": _says(b"-\xff\xfe\r\n"),
    "page": _says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "line without an end": _says(b"+" + b"x" * 100_000),
    "two answers": _says(b"$-1\r\n$5\r\nhello\r\n"),
    "nothing, and goodbye": lambda connection: None,
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_a_miss(odd: Callable[..., OddServer], answer: Callable[[socket.socket], None]) -> None:
    tier = RedisTier(odd(answer).url, timeout_seconds=SHORT)
    assert ask_all(tier, KEYS[:8]) == 0
    tier.get(b"name")
    tier.clear()
    assert tier.delete(b"name") in (True, False)
    tier.close()


def _drips(connection: socket.socket) -> None:
    """A valid answer, a byte at a time, without end: every read of the socket succeeds."""
    connection.recv(1 << 16)
    connection.sendall(b"$1000000\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(SHORT / 10)


def _floods(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"$400000000\r\n")
    while True:
        connection.sendall(bytes(1 << 16))


@pytest.mark.parametrize("answer", [_drips, _floods])
def test_a_request_ends_however_slowly_the_answer_comes(odd: Callable[..., OddServer], answer: Any) -> None:
    tier = RedisTier(odd(answer).url, timeout_seconds=SHORT)
    thread = threading.Thread(target=tier.get, args=(b"name",), daemon=True)
    thread.start()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive(), "a million bytes at this pace take more than an hour"
    assert tier.failures == 1
    tier.close()


def test_answers_that_belong_to_another_request(odd: Callable[..., OddServer]) -> None:
    """As connections give that are one answer late: the payload is sound, the name is not."""
    payload = pack(right(KEYS[3]), 1.0, b"t" + KEYS[3].encode())
    tier = RedisTier(odd(_says(b"$%d\r\n%b\r\n" % (len(payload), payload))).url, timeout_seconds=5.0)
    assert tier.get(b"any name") == payload, "nobody but the checksum can tell"
    cache = Cache(1 << 20, "lru", below=tier)
    assert_array_equal(cache[KEYS[3]], right(KEYS[3]))
    assert [key for key in KEYS if key in cache or cache.get(key) is not None] == [KEYS[3]]
    tier.close()


# --- a server that is full, and how values are stored ---


def test_a_full_server_keeps_nothing_new_and_nothing_old_under_its_name(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    tier = RedisTier(server.url, timeout_seconds=1.0)
    try:
        tier.put(b"a", b"old")
        tier.put(b"b", b"stays")
        while tier.failures == 0:
            tier.put(b"fill %d" % random.getrandbits(32), bytes(50_000))
        assert "memory" in tier.last_failure
        tier.put(b"a", bytes(100_000))
        assert (tier.get(b"a"), tier.get(b"b")) == (None, b"stays")
        ask_all(tier)
        server.command("CONFIG", "SET", "maxmemory", "64mb")
        assert comes_back(tier)
        tier.close()
    finally:
        server.stop()


def test_a_server_that_evicts_stays_under_its_limit(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
    tier = RedisTier(server.url, timeout_seconds=5.0)
    try:
        names = [b"%d" % number for number in range(200)]
        for name in names:
            tier.put(name, bytes(50_000))
        kept = sum(tier.get(name) is not None for name in names)
        assert 0 < kept < 100
        assert tier.failures == 0
        tier.close()
    finally:
        server.stop()


def test_values_expire(server: RedisServer) -> None:
    tier = RedisTier(server.url, expire_seconds=0.05, timeout_seconds=5.0)
    tier.put(b"a", b"1")
    assert within(lambda: tier.get(b"a") is None)
    lasting = RedisTier(server.url, expire_seconds=3600, timeout_seconds=5.0)
    lasting.put(b"a", b"1")
    assert lasting.get(b"a") == b"1"
    assert 3_500_000 < int(server.command("PTTL", "reconv:a")[1:]) <= 3_600_000
    tier.close()
    lasting.close()


def test_prefixes_keep_apart_and_clear_takes_its_own(server: RedisServer) -> None:
    prefixes = ["", "a:", "a*", "a?", "[a]", "a\\", "ä:"]
    tiers = {prefix: RedisTier(server.url, prefix=prefix, timeout_seconds=5.0) for prefix in prefixes}
    for prefix, tier in tiers.items():
        tier.put(b"x", prefix.encode())
    server.command("SET", "unrelated", "1")
    for prefix in prefixes[1:]:
        assert tiers[prefix].get(b"x") == prefix.encode()
        tiers[prefix].clear()
        assert tiers[prefix].get(b"x") is None
    assert tiers[""].get(b"x") == b""
    assert server.command("EXISTS", "unrelated") == b":1\r\n"
    for tier in tiers.values():
        tier.close()
        assert tier.failures == 0


def test_clear_goes_through_thousands_of_names(server: RedisServer) -> None:
    tier = RedisTier(server.url, timeout_seconds=5.0)
    for number in range(2500):
        tier.put(b"%d" % number, b"x")
    tier.clear()
    assert server.command("DBSIZE") == b":0\r\n"
    tier.close()
    assert tier.failures == 0


def test_addresses(server: RedisServer) -> None:
    RedisTier(server.url, timeout_seconds=5.0).put(b"a", b"1")
    for url in (
        f"valkey://127.0.0.1:{server.port}",
        f"redis://localhost:{server.port}/0",
        f"unix://{server.unix}",
        f"redis://127.0.0.1:{server.port}?decode_responses=True&socket_timeout=99&protocol=3",
    ):
        tier = RedisTier(url, timeout_seconds=5.0)
        assert tier.get(b"a") == b"1", url
        tier.close()
        assert tier.failures == 0
    other = RedisTier(f"redis://127.0.0.1:{server.port}/1", timeout_seconds=5.0)
    assert other.get(b"a") is None
    other.close()
    assert other.failures == 0


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://host:port"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(CacheError, match="the address of a Redis tier"):
        RedisTier(url)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_to_expire_is_above_0(seconds: float) -> None:
    with pytest.raises(CacheError, match=r"expire_seconds is .*, expected a number from 0.001 up, or None"):
        RedisTier("redis://127.0.0.1", expire_seconds=seconds)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingError, match=r"pip install 'reconv\[redis\]'"):
        RedisTier("redis://127.0.0.1")


def test_the_library_is_imported_when_a_tier_is_opened() -> None:
    program = "import sys, reconv.cache.tiers; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_nothing_is_kept_of_a_password(server: RedisServer) -> None:
    tier = RedisTier(f"redis://user:secret@127.0.0.1:{server.port}", timeout_seconds=5.0)
    assert tier.get(b"a") is None
    assert tier.failures == 1
    assert "secret" not in tier.last_failure
    assert "secret" not in repr(tier)
    tier.close()
