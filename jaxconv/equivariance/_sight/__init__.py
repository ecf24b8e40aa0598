"""What the entries of every array of a program see of an input."""
