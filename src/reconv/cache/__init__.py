"""Bounded memory: caches under a byte limit, the policies that decide what stays, and replay of traces through them.

Knows keys, bytes and seconds, nothing of networks. In the order in which a request flows through: `store` (the mapping
that users hold), `ledger` (the request loop), `policies/` (who leaves), `admission` (who comes in), `tiers/` (slower
stores below). Beside them `replaying` runs a `trace`, from a `tracefile` or a `workload`, through a ledger alone,
`belady` says what no policy can beat, and `curves` draws it all.
"""

from reconv.cache.admission import ADMISSIONS
from reconv.cache.policies import POLICIES, Policy
from reconv.cache.replaying import Replay, replay
from reconv.cache.stats import CacheStats
from reconv.cache.store import Cache
from reconv.cache.trace import Trace
from reconv.cache.tracefile import read_trace, write_trace
from reconv.cache.workload import WORKLOADS, generate

__all__ = [
    "ADMISSIONS",
    "Cache",
    "CacheStats",
    "POLICIES",
    "Policy",
    "Replay",
    "Trace",
    "WORKLOADS",
    "generate",
    "read_trace",
    "replay",
    "write_trace",
]
