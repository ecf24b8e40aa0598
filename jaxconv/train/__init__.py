"""Pure step functions, a loop that only iterates, data and checkpoints."""
