"""Choosing among what the library offers, on the user's own frames and under the user's limits."""

from __future__ import annotations

from reconv.optimize.factors import Factors, Trial, exchange_rate, group_maps, tune_factors

__all__ = ["Factors", "Trial", "exchange_rate", "group_maps", "tune_factors"]
