"""Who wins: fronts, budgets and the point to use at one. No torch."""
