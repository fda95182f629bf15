"""The parts of `launch.convert`: reading a checkpoint, running GPT-NeoX's converter, mending its output, proving the loss."""
