"""Gates that prove themselves: equal and broken versions sent through replayed rollouts."""
