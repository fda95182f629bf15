"""A tokenized corpus: `indexed` (`PREFIX.bin`, `PREFIX.idx`), `manifest` (`PREFIX.json`), `ids` (which ids it holds)."""
