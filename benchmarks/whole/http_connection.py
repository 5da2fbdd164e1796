"""As much of HTTP/1.1 as a load generator needs: posting on a connection that is kept."""

from __future__ import annotations

import asyncio

_LINE = b"\r\n"


class HttpConnection:
    """One connection, for one request after another.

    Args:
        reader: What comes.
        writer: What goes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_closed(self) -> bool:
        """Whether the other side has ended it."""
        return self._reader.at_eof()

    async def post(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Posts.

        Args:
            head: The request line and fields, up to ``content-length: ``.
            body: The content.

        Returns:
            The status and the content of the answer, whose length is told or which comes in chunks.

        Raises:
            ValueError: The answer is not HTTP, or tells neither.
            EOFError: The connection ended before the answer did.
        """
        self._writer.write(head + str(len(body)).encode() + _LINE + _LINE + body)
        lines = (await self._reader.readuntil(_LINE + _LINE)).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
        status = int(lines[0].split()[1])
        if "content-length" in fields:
            return status, await self._reader.readexactly(int(fields["content-length"]))
        if fields.get("transfer-encoding", "").strip() == "chunked":
            return status, await self._chunks()
        raise ValueError(f"expected content-length or chunks, received the fields {sorted(fields)}")

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int((await self._reader.readuntil(_LINE)).split(b";")[0], 16)
            parts.append((await self._reader.readexactly(size + len(_LINE)))[:size])
            if not size:
                return b"".join(parts)

    def close(self) -> None:
        """Ends it."""
        self._writer.close()
