"""The server: its limits, and what it may show of the machine."""

from pathlib import Path

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from modeling_igllm import ImageToScenePipeline

from .blender import blender_is_installed, render
from .body_limit import BodyLimit
from .leftovers import clean_up
from .own_files import OwnFiles
from .page import CLEAN_UP_SECONDS, FILES_LIVE_SECONDS, STYLE, build_page
from .pictures import MAX_UPLOAD_BYTES

MAX_QUEUE = 100  # waiting visitors; the next one is told that the queue is full
MAX_SESSIONS = 500  # whose last values Gradio keeps
MAX_REQUEST_BYTES = 2**14  # of JSON, which takes a hundredfold in memory; a program of 50 objects has some 6,000
_MULTIPART_BYTES = 2**16  # what multipart adds to a file
FONTS = ["system-ui", "sans-serif"]  # of the visitor's own machine
MONOSPACED = ["ui-monospace", "monospace"]


def serve(reader: ImageToScenePipeline) -> None:
    """Serve the page until the process is ended, at Gradio's usual address (`GRADIO_SERVER_NAME` and `_PORT`)."""
    launch(build_page(reader, render if blender_is_installed() else None))


def launch(page: gr.Blocks, *, wait: bool = True) -> str:
    """Start the server.

    Args:
        page: of `build_page`.
        wait: stay here until the process is ended.

    Returns:
        The page's address on this machine.
    """
    # Gradio downloads what a request names by an address, of any size and for any component.
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    # Gradio would open a way past the queue wherever it is not on the Hub.
    page.queue(max_size=MAX_QUEUE, api_open=False)
    _, address, _ = page.launch(
        prevent_thread_lock=True,
        quiet=not wait,
        max_file_size=MAX_UPLOAD_BYTES,
        app_kwargs={
            "middleware": [
                Middleware(
                    BodyLimit, max_bytes=MAX_REQUEST_BYTES, max_upload_bytes=MAX_UPLOAD_BYTES + _MULTIPART_BYTES
                ),
                Middleware(OwnFiles, folder=folder),
            ],
            "lifespan": clean_up(folder, CLEAN_UP_SECONDS, FILES_LIVE_SECONDS),
        },
        state_session_capacity=MAX_SESSIONS,
        allowed_paths=[],
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        share=False,
        footer_links=["api", "gradio"],
        css=STYLE,
        theme=gr.themes.Default(font=FONTS, font_mono=MONOSPACED),
    )
    if wait:
        try:
            page.block_thread()
        finally:  # who is being served is cut off: else files would still be written while their folder is deleted
            page.server.force_exit = True
            page.close(verbose=False)
    return address


async def _fetch_nothing(url: str, cache_dir: str) -> str:
    raise gr.Error("Upload the picture as a file: addresses are not fetched.", print_exception=False)
