"""jp-stable's own scorer, unchanged, run by eval_speed.py: `JP_PYTHON _jp_stable_scorer.py MODEL`.

Every line of standard input is a JSON list of requests as token ids (`[context, choice]`); answered by a line
`[CPU seconds, [log-likelihood, ...]]`. JP_STABLE_DIR names the checkout. It knows nothing of Haigo.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.environ["JP_STABLE_DIR"])
answers, sys.stdout = sys.stdout, sys.stderr

import torch  # noqa: E402
from lm_eval.models import gpt2  # noqa: E402

torch.set_num_threads(1)
model = gpt2.HFLM(device="cpu", pretrained=sys.argv[1])
for line in sys.stdin:
    asked = [(("", ""), context, choice) for context, choice in json.loads(line)]
    begin = time.process_time()
    found = model._loglikelihood_tokens(asked, disable_tqdm=True)
    print(json.dumps([time.process_time() - begin, [float(score) for score, _ in found]]), file=answers, flush=True)
