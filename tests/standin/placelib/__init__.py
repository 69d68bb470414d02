"""What the script `place` is made of."""
