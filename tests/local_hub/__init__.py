"""A small Hugging Face Hub for tests.

The stock client talks to it when `HF_ENDPOINT` is its address and `HF_HUB_DISABLE_XET` is 1.
"""

from .client import logged_in_hub, run_fresh
from .server import TOKEN, USER, LocalHub, serve_hub

__all__ = ["TOKEN", "USER", "LocalHub", "logged_in_hub", "run_fresh", "serve_hub"]
