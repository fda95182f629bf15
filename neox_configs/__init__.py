"""GPT-NeoX's own dialect: the models, proxies, recipes and clusters that come with Haigo, and the one reader of it.

    from neox_configs import reader, shipped
    config = reader.load([shipped.find("models", "1-3B")])

What belongs here: YAML in GPT-NeoX's keys (`models/`, `proxies/`, `recipes/`), hardware facts in Haigo's own keys
(`clusters/`, read by `hardware`), reading and checking such files (`reader`, `keys`), the arithmetic that GPT-NeoX does
on them (`derive`) and the catalogue of datasets (`catalogue`). What does not: deciding a layout or starting anything
(`launch`).
All rooms may read configs through this one; it imports none of them.
"""
