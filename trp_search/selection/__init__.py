"""Fronts, budgets and the point to use within one. No torch."""
