"""Choosing a profile on real frames: how far each map may be off while the results agree with dense ones as asked.

In the order of the work: `stretches` (which frames choose, which judge), `player` (a profile on those frames), `ladder`
(the largest tolerance that agrees as asked), `groups` and `factors` (how far off which maps may be), `search` (all
three), `tune` (what `Model.tune` does, and its report). What a recipe is here is `Subject`: tuning knows no families.
"""

from reconv.engine.tuning.factors import Factors, Trial, exchange_rate, tune_factors
from reconv.engine.tuning.groups import group_maps, leads_to
from reconv.engine.tuning.player import Played, Player, Subject
from reconv.engine.tuning.search import Search
from reconv.engine.tuning.stretches import Parts, Window, parts_of
from reconv.engine.tuning.tune import Tuned, groups_of, tune

__all__ = [
    "Factors",
    "Parts",
    "Played",
    "Player",
    "Search",
    "Subject",
    "Trial",
    "Tuned",
    "Window",
    "exchange_rate",
    "group_maps",
    "groups_of",
    "leads_to",
    "parts_of",
    "tune",
    "tune_factors",
]
