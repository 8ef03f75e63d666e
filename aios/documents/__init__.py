"""Documents: what a page says and where, from files of many kinds, once for each content."""
