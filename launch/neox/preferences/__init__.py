"""What GPT-NeoX's training on preferences lacks: a train.py for its own interpreter."""
