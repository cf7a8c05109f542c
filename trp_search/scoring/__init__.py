"""Scores candidates: multiply-adds, accuracy, and the points made of them."""
