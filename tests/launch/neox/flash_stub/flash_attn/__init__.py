"""flash-attn's interface as GPT-NeoX calls it, in plain torch, for machines without a GPU; for GPT-NeoX's environment only.

`window_size` means what flash-attn's documentation says: the query at position i sees the keys from i - left to i, both
included; -1: no bound.
"""
