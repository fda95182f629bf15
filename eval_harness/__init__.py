"""Scores: lm-eval as the engine, the Japanese leaderboard's rules as tasks.

What belongs here: prompts, few-shot draws, tokenising rules, metrics and the result files of the leaderboard (Stability
AI's fork of lm-evaluation-harness, branch jp-stable). What does not: training, corpora, mixtures. Tokenizers are read by
`haigo.formats.tokenizer`. Importing this package imports neither torch nor lm-eval.
"""
