"""What the run's report is made of: figures, style, tables."""
