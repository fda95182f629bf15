"""Training by the embedded engine, as programs import it; the engine itself is `launch.engine`."""

from launch.engine.options import TrainOptions
from launch.engine.train import Tick, tokens_in, train

__all__ = ["Tick", "TrainOptions", "tokens_in", "train"]
