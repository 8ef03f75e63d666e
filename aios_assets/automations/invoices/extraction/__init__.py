"""Reading the fields of an invoice or receipt off its words and boxes.

`recipes` trains and loads. A *tagger* says of each segment which fields it may belong to (a torch
network over layout and text, or a linear model); `candidates` proposes values; `memory` adds what
people wrote for a vendor that is recognised; a *ranker* for each field orders the candidates;
`decoding` picks values that agree; `confidence` says how sure that is.
"""
