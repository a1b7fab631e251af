"""`generate` of this checkpoint: programs of its grammar only (`grammar_generation.py`)."""


def generate(*args, model, **kwargs):
    """As `model.generate_by_grammar`; transformers' own is still there as `type(model).generate(model, ...)`."""
    return model.generate_by_grammar(*args, **kwargs)
