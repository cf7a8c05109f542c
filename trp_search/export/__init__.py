"""Bundles: one point on disk, scored again in a fresh process before it is kept, loaded safely."""
