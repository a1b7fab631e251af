"""What the Hub runs, and `make space`: a page that turns a picture into a scene program."""

import os
import signal
import sys
import tempfile

from igllm_space.checkpoint import CheckpointSource, load_reader
from igllm_space.serving import serve

if __name__ == "__main__":
    reader = load_reader(CheckpointSource.from_environment())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the folder is deleted then, too
    # Uploads and results lie here and nowhere else.
    with tempfile.TemporaryDirectory(prefix="igllm-space-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        serve(reader)
