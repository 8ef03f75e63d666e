"""Reviews: decisions that wait for a person, the verdicts on them, and what these are worth."""
