"""What a network is for: its loss, its metric and what it learns from another network."""
