"""The swarm behind `launch.proxies`: a table of mixtures becomes a table of losses.

Here belongs what is about many small models at once: who trains which row, with which seed and how much of each corpus,
what became of it, and how results of several machines become one table. How one model is trained is `launch.local`'s
(or GPT-NeoX's) business; what the numbers say is `mixer`'s.
"""
