"""`igllm experiment`: the paper's claims, each from its recipe to a page.

recipe -> data and towers -> runs -> results (JSON) -> page and plots. Nothing flows back: a page is written from the
JSON alone, and the JSON from the runs that are finished.
"""
