"""The floor that every room stands on: how a command ends, how a file is written, how progress is shown.

What belongs here is needed by `preprocess`, `mixer`, `launch` and `eval_harness` alike and knows nothing of any of
them. What does not: anything about corpora, weights, models or scores. Nothing here imports torch, numpy or pandas.
"""

__version__ = "0.1.0"
