"""Which files the server hands out: those in Gradio's folder, and nothing behind a link or an address."""

import re
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Gradio's two routes for files. It looks at the path as it is written, follows links, and fetches what is an address.
_ROUTE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)


class OwnFiles:
    """ASGI middleware that answers 403 to a request for a file that does not lie below `folder`, links followed."""

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self.app = app
        self.folder = folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        route = _ROUTE.search(scope["path"]) if scope["type"] == "http" else None
        if route is None or self._is_own(route[1]):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("this server has no such file", status_code=403)(scope, receive, send)

    def _is_own(self, named: str) -> bool:
        return "\0" not in named and Path(named).resolve().is_relative_to(self.folder)
