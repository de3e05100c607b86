"""The search over profiles, whoever plays them: one tolerance, factors, the tolerance with factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconv.engine.tolerance import Profile
from reconv.engine.tuning.factors import Factors, Groups, exchange_rate, tune_factors
from reconv.engine.tuning.ladder import START, Ladder
from reconv.engine.tuning.player import Played

__all__ = ["Search"]

NEAR = 1.8  # times the tolerance, either way: where the rate of exchange is taken from
WORTH = 0.97  # of the work of one tolerance: factors that need more are not worth having
STEP, CLOSE = 1.25, 1.06  # of tolerances with factors, which begin near the right one


class Search:
    """Holds the best so far at every moment, so that an exception out of `play` ends it without loss."""

    def __init__(
        self, play: Callable[[Profile], Played], asked: float, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """`play` runs the frames under a profile; `asked` is the headline agreement to be met."""
        self._say, self._asked, self._play = say, asked, play
        self._alone: Ladder[Played] = Ladder(lambda tolerance: self.play(Profile(tolerance)), asked)
        self._with: Ladder[Played] | None = None
        self._done = False
        self.factors: Factors | None = None
        self.played: list[tuple[Profile, Played]] = []
        self.notes: list[str] = []

    def play(self, profile: Profile) -> Played:
        """What a profile gives; played once."""
        found = self.known(profile)
        if found is None:
            found = self._play(profile)
            self.played.append((profile, found))
        return found

    def known(self, profile: Profile) -> Played | None:
        """What a profile gave, if it was played."""
        return next((played for each, played in self.played if each == profile), None)

    def run(self, groups: Groups, start: float = START) -> Profile:
        """The whole search, from this tolerance on; without groups for one tolerance alone. Gives `best`."""
        alone = self._alone.climb(start)
        if alone is None:
            nearest, gave = max(self._alone.tried.items(), key=lambda item: item[1].headline)
            self.notes.append(
                f"no tolerance agrees as asked: {nearest:g} came closest with {gave.headline:.4f}; "
                "tolerance 0 is dense to the bit"
            )
        else:
            self._say(f"one tolerance: {alone:g}, {self._alone.at(alone).share:.1%} of the work")
            if groups:
                self._spread(groups, alone)
        self._done = True
        return self.best

    def _spread(self, groups: Groups, alone: float) -> None:
        near = [p.trial for t, p in self._alone.tried.items() if alone / NEAR <= t <= alone * NEAR]
        try:
            rate = exchange_rate(near)
        except ValueError as error:
            self.notes.append(f"no factors: {error}")
            return
        found = tune_factors(lambda profile: self.play(profile).trial, groups, alone, rate, say=self._say)
        ladder: Ladder[Played] = Ladder(lambda tolerance: self.play(found.profile(tolerance)), self._asked)
        ladder.climb(alone, STEP, CLOSE)
        self.factors, self._with = found, ladder

    @property
    def tried(self) -> Mapping[str, Mapping[float, Played]]:
        """Tolerances and what they gave: "single" for all maps, "factors" with factors."""
        return {"single": self._alone.tried, "factors": self._with.tried if self._with else {}}

    @property
    def single(self) -> Profile:
        """The largest tolerance for all maps that agrees as asked; 0 where there is none."""
        return Profile(self._alone.best or 0.0)

    @property
    def best(self) -> Profile:
        """What was found; of a search that was cut short, the least work seen that agrees as asked."""
        if not self._done:
            kept = [(played.share, profile) for profile, played in self.played if played.headline >= self._asked]
            return min(kept, key=lambda each: each[0])[1] if kept else Profile(0.0)
        alone, ladder, found = self._alone.best, self._with, self.factors
        spread = ladder.best if ladder else None
        if alone is None or ladder is None or found is None or spread is None:
            return self.single
        less = ladder.at(spread).share <= WORTH * self._alone.at(alone).share
        return found.profile(spread) if less else self.single
