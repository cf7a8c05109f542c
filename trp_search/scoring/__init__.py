"""Scores candidates: multiply-adds, the task's metric, and the resulting points."""
