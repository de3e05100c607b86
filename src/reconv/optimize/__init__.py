"""Choosing among what the library offers, on the user's own frames and under the user's limits."""
