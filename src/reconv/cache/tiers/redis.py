"""Values in a Redis or Valkey server, shared by machines.

The limit is the server's: `maxmemory`, with `maxmemory-policy allkeys-lru` (or `allkeys-lfu`) so that it makes room
by itself; under `noeviction`, the default, a full server keeps nothing new. The library is redis-py (extra `redis`),
which also speaks to Valkey. Values are the bytes that `reconv.cache.packing` makes, nothing is pickled.

A request as a whole ends at its deadline. The library's own timeout is for each read of the socket, and a server that
drips a byte now and then would never reach it.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from typing import Any

from reconv.cache.tiers.guard import GuardedTier
from reconv.errors import CacheError, MissingError, one_line

__all__ = ["RedisTier"]

_LARGEST_BYTES = 512 << 20  # of a value in Redis
_ANY_NUMBER = 1 << 31
_BATCH = 1000
_READ_BYTES = 1 << 18  # at once: a megabyte comes four times as fast as with the library's 64 KiB
_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}


class RedisTier(GuardedTier):
    """A tier on a server. Never fails: one that is down, slow or answers nonsense is a miss after a bounded wait."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reconv:",
        timeout_seconds: float = 0.25,
        expire_seconds: float | None = None,
    ) -> None:
        """
        Args:
            url: redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path?db=0; valkey:// and valkeys://
                mean the same as the first two. The server is asked at the first request, not here.
            prefix: begins the names on the server. `clear` deletes all names that begin with it.
            timeout_seconds: of a whole request; connecting may take as long again. Finding the host's address is the
                system's matter and not in it.
            expire_seconds: after which the server forgets a value; None: never on account of its age.

        Raises:
            MissingError: redis-py is not installed.
            CacheError: the address, the timeout or the time to expire makes no sense.
        """
        super().__init__(timeout_seconds, _LARGEST_BYTES)
        if expire_seconds is not None and not 0.001 <= expire_seconds < float("inf"):
            raise CacheError(f"expire_seconds is {expire_seconds!r}, expected a number from 0.001 up, or None")
        try:
            redis = importlib.import_module("redis")
        except ImportError as error:
            raise MissingError("a Redis tier needs redis-py: pip install 'reconv[redis]'") from error
        scheme, colon, rest = url.partition(":")
        try:
            options = redis.connection.parse_url(_SCHEMES.get(scheme, scheme) + colon + rest)
        except ValueError as error:
            raise CacheError(f"the address of a Redis tier: {one_line(error)}") from error
        options = {"socket_read_size": _READ_BYTES} | options
        options |= {
            "socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds,
            "decode_responses": False, "protocol": 2, "max_connections": _ANY_NUMBER,
            # hiredis, where it is installed, believes a list's length and allocates gigabytes for a line of nonsense
            "parser_class": getattr(redis.connection, "_RESP2Parser", redis.connection.DefaultParser),
        }  # fmt: skip
        self._deadline = _Deadline()
        connection = _bounded(options.pop("connection_class", redis.Connection), self._deadline)
        self._pool: Any = redis.ConnectionPool(connection_class=connection, **options)
        self._client: Any = redis.Redis(connection_pool=self._pool)
        self._prefix = prefix.encode()
        self._expire_ms = None if expire_seconds is None else int(expire_seconds * 1000)

    # --- the hooks ---

    def _read(self, name: bytes) -> bytes | None:
        payload = self._asked().get(self._prefix + name)
        if not (payload is None or isinstance(payload, bytes)):
            raise TypeError(f"the server answered a {type(payload).__name__} where a value was asked for")
        return payload

    def _write(self, name: bytes, payload: bytes) -> None:
        if self._asked().set(self._prefix + name, payload, px=self._expire_ms) is not True:
            raise TypeError("the server did not say that the value is kept")

    def _delete(self, name: bytes) -> bool:
        return int(self._asked().delete(self._prefix + name)) > 0

    def _clear(self) -> None:
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"
        cursor = None
        while cursor != 0:
            cursor, names = self._asked().scan(cursor or 0, match=pattern, count=_BATCH)
            if names:
                self._asked().delete(*names)

    def _close(self) -> None:
        self._pool.disconnect()

    def _after_fork(self) -> None:
        """The pool sees by itself that it is in another process."""

    def _asked(self) -> Any:
        """The client, with the whole timeout ahead of the next request of this thread."""
        self._deadline.at = time.monotonic() + self.timeout_seconds
        return self._client


class _Deadline(threading.local):
    at = 0.0


class _TimedSocket:
    """A socket whose reads and writes all end when this thread's request has to."""

    def __init__(self, plain: Any, deadline: _Deadline) -> None:
        self._plain = plain
        self._deadline = deadline
        self._timeout: float | None = plain.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def recv(self, *arguments: Any) -> Any:
        return self._ready().recv(*arguments)

    def recv_into(self, *arguments: Any) -> Any:
        return self._ready().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> Any:
        return self._ready().sendall(*arguments)

    def _ready(self) -> Any:
        left = self._deadline.at - time.monotonic()
        if self._timeout != 0:  # 0: only what is there already
            if left <= 0:
                raise TimeoutError("the request's time is over")
            left = left if self._timeout is None else min(left, self._timeout)
        self._plain.settimeout(self._timeout if self._timeout == 0 else left)
        return self._plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


def _bounded(connection: Any, deadline: _Deadline) -> Any:
    """A class of connections like the library's, over sockets that keep the deadline."""

    def connect(self: Any) -> _TimedSocket:
        return _TimedSocket(connection._connect(self), deadline)

    return type(connection.__name__, (connection,), {"_connect": connect})
