"""Training with Trained Rank Pruning."""
