"""Files that several rooms read or write: one owner for each, who alone knows its shape and its tolerance.

`documents` (cleaned text, JSON lines, whatever they are packed in), `tokenizer`, `dataset` (.bin, .idx and manifest), `mixture`
(mixture.yml), `tables` (ratios.csv, metrics.csv, supply.csv; `csvfile` below them).
"""
