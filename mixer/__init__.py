"""mixer: from a table of proxy runs to corpus weights that can be trusted.

What belongs here: mixtures on the simplex, proxy tables, designs, mixing laws, supply and repetition, the search for
the best mixture. Numbers only: it reads CSV files and writes mixture.yml, knows no other room and never imports torch.
What does not: training proxies (launch.proxies), drawing (haigo.figures), reading datasets (preprocess).
"""
