"""One point as a bundle on disk: written whole, scored again in a fresh process, loaded safely."""
