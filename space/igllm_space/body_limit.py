"""A bound on what one request may send: Gradio's own limit is for uploaded files alone, not for JSON."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_UPLOAD_ROUTE = "/gradio_api/upload"


class BodyTooLargeError(Exception):
    """More bytes came than `BodyLimit` allows."""


class BodyLimit:
    """ASGI middleware that answers 413 to a request whose body is larger than `max_bytes`.

    A body that says so in its header is refused unread; one that does not is cut off where it passes the limit. Only
    uploads, which Gradio writes to disk as they come, may have `max_upload_bytes`: all else is read into memory, where
    JSON can become a hundred times as large, and stays there while it waits in the queue.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_upload_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.max_upload_bytes if scope["path"].endswith(_UPLOAD_ROUTE) else self.max_bytes
        refusal = PlainTextResponse(f"a request may have at most {limit} bytes", status_code=413)
        if not _declared_length(scope) <= limit:
            await refusal(scope, receive, send)
            return
        received, has_answered = 0, False

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLargeError
            return message

        async def watched_send(message: Message) -> None:
            nonlocal has_answered
            has_answered = True
            await send(message)

        try:
            await self.app(scope, counted_receive, watched_send)
        except BodyTooLargeError:
            if has_answered:
                raise
            await refusal(scope, receive, send)


def _declared_length(scope: Scope) -> float:
    """What the header says, infinite where it is no number or has over 18 digits, 0 where there is none."""
    value = Headers(scope=scope).get("content-length", "0")
    # Python itself refuses to read numbers of some thousand digits.
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else float("inf")
