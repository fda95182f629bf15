"""Everything that starts something: the whole chain, proxy runs, GPT-NeoX on a cluster, the embedded engine.

The one room that knows the others and ties them together. What does not belong here: how text is cleaned (`preprocess`),
how weights are chosen (`mixer`), how answers are scored (`eval_harness`).
"""
