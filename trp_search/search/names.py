"""What the study is called, and what a worker is told that scores points on test."""

STUDY = "trp_search"
TEST = "test"
