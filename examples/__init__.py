"""Run files to start from, and the generator of the sample corpora that the demo needs.

What belongs here: run files (`*.yml`) and `world`, which writes the sample corpora. What does not: anything that the
rooms import; nothing in the product depends on this package.
"""
