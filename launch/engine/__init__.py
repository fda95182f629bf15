"""The embedded engine: trains small models on this machine as GPT-NeoX would, from the same YAML.

What belongs here turns a GPT-NeoX config, indexed datasets and a tokenizer into a trained model of transformers: model,
loss, optimizer, loop, evaluation, checkpoints, export. What does not: anything that starts processes or knows about
mixtures (`launch.proxies`), and training beyond one machine, which is GPT-NeoX's (`launch.deepy`).
"""
