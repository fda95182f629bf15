"""The parts of `launch.convert`: reading checkpoints and folders of Hugging Face, laying tensors out both ways, proving the loss."""
