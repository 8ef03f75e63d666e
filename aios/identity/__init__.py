"""Who acts, and who may do what: actors and their tokens, and the rules in `access/`."""
