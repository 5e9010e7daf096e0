"""The text of a message from a connection: to the one end that the protocol knows, never more of it than a limit.

Only a dot alone between two CRLF ends a message (RFC 5321, 4.1.1.4). A bare line feed is text: what follows a dot
between such is no second message that somebody smuggled in. Lines may be of any length.
"""

from __future__ import annotations

from asyncio import LimitOverrunError, StreamReader

END = b".\r\n"


async def receive(reader: StreamReader, limit: int) -> bytes | None:
    """The message without the dots that the protocol adds; None when it is longer than ``limit`` bytes.

    What is too long is read to its end all the same. Raises IncompleteReadError where the connection ends before.
    """
    taken, fits, begins = bytearray(), True, True
    while True:
        try:
            piece, ends = await reader.readuntil(b"\r\n"), True
        except LimitOverrunError as error:
            piece, ends = await reader.read(error.consumed), False
        if begins and piece == END:
            return bytes(taken) if fits else None
        if begins and piece.startswith(b"."):
            piece = piece[1:]
        begins = ends
        fits = fits and len(taken) + len(piece) <= limit
        if fits:
            taken += piece
        else:
            taken.clear()
