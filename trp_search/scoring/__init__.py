"""Scores candidates: multiply-adds, the task's metric, and the points made of them."""
