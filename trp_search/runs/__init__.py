"""Operations on a run: its trials, and refits, repeats, cuts and timings afterwards."""
