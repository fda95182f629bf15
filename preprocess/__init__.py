"""Raw text to what a training run reads: documents, a tokenizer, indexed datasets.

What belongs here: fetching (`fetch`) and reading the formats in which corpora come, cleaning, splitting, training the
SentencePiece model, writing and checking GPT-NeoX's `.bin/.idx`. What does not: weights of corpora (`mixer`), anything
that trains a model (`launch`) or scores one (`eval_harness`). Nothing here imports torch.

    python -m preprocess.fetch SOURCE ... --contact you@example.org --output-dir RAW
    python -m preprocess.clean INPUT... --corpus NAME --output-dir DIR
    python -m preprocess.dedup DIR... --output-dir OUT
    python -m preprocess.decontaminate DIR... --against JGLUE --output-dir OUT
    python -m preprocess.sample DIR... --characters 3e8 --output-dir SAMPLE
    python -m preprocess.tokenizer DIR... --sample SAMPLE --vocab-size 50000 --output-dir TOKENIZER
    python -m preprocess.index DIR/train/*.jsonl.zst --tokenizer TOKENIZER --output-prefix PREFIX
    python -m preprocess.pairs FILE... --tokenizer TOKENIZER --output-prefix PREFIX
    python -m preprocess.scale RUN.yml
    python -m preprocess.inspect PREFIX_text_document --verify
"""
