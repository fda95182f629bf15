"""What is known of GPT-NeoX: its log lines, hostfiles, checkpoints, the order of its samples, the exact commands that start it.
Nothing is trained here."""
