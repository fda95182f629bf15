"""What the fork server of a proxy pool imports before it makes workers: the one module that acts when it is imported.

The fork server takes names of modules and nothing else. The garbage collector is off meanwhile (half a second of CPU goes
to looking through what imports leave for ever) and then told to leave all of it alone, which also keeps its pages shared
by the workers. It stays off in the fork server; a worker turns it on again.
"""

import gc

gc.disable()

import numpy  # noqa: E402, F401
import sentencepiece  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers.models.gpt_neox.modeling_gpt_neox  # noqa: E402, F401

gc.freeze()
