"""What the fork server of a proxy pool imports before it makes workers: the one module that acts when it is imported.

The fork server takes names of modules and nothing else. The garbage collector is off meanwhile (half a second of CPU goes
to looking through what imports leave for ever) and then told to leave all of it alone, which also keeps its pages shared
by the workers. It stays off in the fork server; a worker turns it on again.

A library that asks on import whether there is a CUDA device would open CUDA here, and no process forked from this one could
open it again: with the variable below torch asks the driver's NVML library in its place.
"""

import gc
import os

gc.disable()
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import numpy  # noqa: E402, F401
import sentencepiece  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers.models.gpt_neox.modeling_gpt_neox  # noqa: E402, F401

gc.freeze()
