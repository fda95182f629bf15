"""The exact commands that start GPT-NeoX: deepy.py's words, the launcher's, node lists, the text of an sbatch file. Nothing is
started here."""
