"""Training: many runs in one compiled program, given functions and rows."""
