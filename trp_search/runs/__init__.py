"""What is done with a run: its trials, and what is made of them afterwards."""
