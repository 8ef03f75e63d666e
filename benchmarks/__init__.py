"""Side-by-side measurements: each prints a table, with its yardstick in the same run."""
