"""The same result from a cheaper order: rules, their proof, and the search among them.

In the order in which a model flows through: `view` (a graph as rules look at it), `rule` and `rules` (what may be
swapped), `proof` (that a swap keeps the result), `search` (which swaps pay).
"""
