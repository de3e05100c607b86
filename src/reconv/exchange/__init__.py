"""The same result from a cheaper order: rules, their proof, and the search among them.

In the order in which a model flows through: `view` (a graph as rules look at it), `rule` and `rules` (what may be
swapped), `proof` (that a swap keeps the result: `same` without computing; else `float64` evaluates both sides on what
`border` and `draws` give), `meter` and `region` (what a swap is worth), `search` (which swaps pay).
"""
