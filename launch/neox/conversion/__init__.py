"""The parts of `launch.convert`: reading checkpoints and models, laying tensors out both ways, proving the loss."""
