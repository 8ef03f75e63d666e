"""One module for each stage of the way of the data, from declaration to assets and checks."""
