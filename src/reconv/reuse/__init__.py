"""The caches put to work: what to key, and what to keep.

`keys` and `local` (what a result was made of), `cached` (whole results), `prefix` (the common stem of several models),
`features` (the frozen part of a network, once per training sample), `states` (streams under one byte limit).
"""
