"""What the study is called, and what workers are given: trainings and test scores."""

STUDY = "trp_search"
BASELINE = "baseline"
TEST = "test"
