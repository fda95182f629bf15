"""A seeded generator of sample corpora: Japanese text about one invented country, Python's own code and docstrings.

Everything Japanese here is synthetic: the country of 瑞潮 (Mizushio), its towns, people, animals, dishes and laws do
not exist. Four domains (encyclopaedia, news, council minutes, stories) tell of the same facts in their own manner, so
that a mixture of them matters for questions about that country, which are written beside the corpora and never in them.

    phrases/*.yml   all words and phrases, to be edited as they stand             phrases.py  reads them  grammar.py  fills them
    facts.py        the world: entities and the facts that hold between them      relations.py  how a fact is said
    encyclopedia.py news.py minutes.py stories.py   the four domains              setting.py  where something happens
    python_text.py  code and docstrings of the running Python's standard library  questions.py  the downstream task
    build.py        all of it into one folder, in the raw formats users have      formats.py  these formats
"""
