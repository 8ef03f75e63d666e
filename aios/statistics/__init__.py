"""Evidence about models and data: metrics with intervals, comparisons, drift, performance alarms.

`metrics` evaluates scores, `comparison` compares two models on the same rows, `drift` compares
the distributions of two frames, `performance` watches the loss of matured labels over time.
Import from the module; nothing is re-exported, so importing one costs only that one.
"""
