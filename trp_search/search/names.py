"""Names of studies, of batches of ranks, and what a worker is told that scores points on test."""

STUDY = "trp_search"
TEST = "test"
RANKS = "ranks-"  # before the trial whose ranks are searched
