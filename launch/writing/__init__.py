"""The parts of a GPT-NeoX config that `launch.configs` writes: data and tokenizer, recipes."""
