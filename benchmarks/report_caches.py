"""The sections of docs/benchmarks.md about the caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import table

Suite = Mapping[str, Any]


def caching(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = ["## Caches in front of MobileNetV2 224x224", ""]
    head = ["threads", "what", "measured", "asked for"]
    rows = []
    for run in suite["runs"]:
        threads, unique, heads, epochs = str(run["threads"]), run["unique"], run["heads"], run["epochs"]
        rows += [
            [threads, "making a key, over a run", f"{run['key']['key_over_run']:.4f}", "-"],
            [threads, "the same in front of a tier", f"{run['key']['shared_key_over_run']:.4f}", "-"],
            [
                threads,
                f"{heads['heads']} heads on one stem, over separate runs",
                f"{heads['times_faster']:.1f}x faster",
                f"{asked['heads']:g}x",
            ],
            [
                threads,
                f"second epoch over {epochs['samples']} samples' features on disk, over the first",
                f"{epochs['times_faster']:.1f}x faster",
                f"{asked['second_epoch']:g}x",
            ],
            [
                threads,
                f"{unique['requests']} unique requests, median time over no cache",
                f"{unique['median_over_plain']:.4f}",
                f"{1 + asked['unique_loss']:g}",
            ],
            [
                threads,
                f"then {unique['return_requests']} popular ones: hits over a fresh cache's, all and the last quarter",
                f"{unique['hits_over_normal']:.2f}, {unique['hits_of_the_last_quarter_over_normal']:.2f}",
                f"{asked['back_hits']:g} within {asked['back_within']}",
            ],
            [
                threads,
                "a batch of 16 with 12 known, over its 4 misses alone",
                f"{run['batch']['median_over_misses']:.3f}",
                f"{asked['batch_over_misses']:g}",
            ],
        ]
    lines += table(head, rows)
    for run in suite["runs"]:
        popular = run["popular"]
        lines += [
            f"{popular['requests']} requests with Zipf popularity over {popular['pictures']} pictures, "
            f"{run['threads']} thread(s); the cache holds a fifth of the results' bytes. Share of the seconds saved: "
            "measured, and replayed without the cache's own time. "
            f"Belady's bound, which knows the future: {popular['belady']:.3f}.",
            "",
        ]
        cells = [
            [row["policy"], f"{row['seconds_saved']:.3f}", f"{row['replayed']:.3f}", str(row["hits"])]
            for row in popular["rows"]
        ]
        lines += table(["policy", "measured", "replayed", "hits"], cells)
    return lines


def policies(suite: Suite) -> list[str]:
    asked, hit = suite["asked"], suite["hit"]
    lines = ["## Policies", ""]
    rows = [[row["policy"], f"{row['per_second']:,}", f"{row['hit_ratio']:.3f}"] for row in suite["speed"]]
    lines += table(["policy", "requests replayed a second", "hit ratio"], rows)
    lines += [
        f"Asked for: {asked['replay_per_second']:,} a second with lru. A hit in memory takes "
        f"{hit['over_cachetools']:.2f} of what cachetools' LRU with a lock takes ({hit['nanoseconds']} ns; "
        f"asked for: {asked['hit_over_cachetools']}).",
        "",
        "Share of the seconds that the second half of a trace takes and a policy saves, by capacity as a share of all "
        f"bytes. Asked of `auto`: {asked['auto_over_best']} of the best single policy's.",
        "",
    ]
    names = list(suite["rows"][0]["saved"])
    cells = [
        [
            row["workload"],
            f"{row['capacity']:g}",
            *(f"{row['saved'][name]:.3f}" for name in names),
            f"{row['auto']:.3f}",
            f"{row['auto'] / row['saved'][row['best']]:.3f}" if row["saved"][row["best"]] else "-",
        ]
        for row in suite["rows"]
    ]
    return lines + table(["workload", "capacity", *names, "auto", "auto over best"], cells)
