"""Actions: what a decision causes in other systems, exactly once, and how it is undone."""
