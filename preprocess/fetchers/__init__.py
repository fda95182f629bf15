"""Where raw text comes from when it is not on disk yet: one file a source, and the polite client they share.

What belongs here is asking servers for text, so that every document arrives once, with its origin, licence and date.
What does not: cleaning it (`preprocess.clean`), and reading formats, which is `preprocess.sources`' alone: a source here
hands what it received to the reader there. The command is `preprocess.fetch`.
"""
