"""A server of S3 that answers each request after some milliseconds: a proxy before moto's.

    python -m tests.benchmarks.latency PORT_OF_MOTO MILLISECONDS

It prints its port. It asks moto once for each answer and keeps it, because moto takes milliseconds of a processor a
request, which would be measured too; so each request takes the latency and nothing else.
"""

from __future__ import annotations

import asyncio
import sys


async def request_lines(reader: asyncio.StreamReader) -> list[bytes]:
    """Return the lines of a request's head; none if the client has hung up."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    except asyncio.IncompleteReadError:
        return []


async def answer_of_moto(port: int, lines: list[bytes]) -> bytes:
    """Return the head and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    writer.write(b"\r\n".join([*kept, b"Connection: close", b"", b""]))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"content-length:"))]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(body), b"", body])


async def serve(port: int, seconds: float) -> None:
    """Serve until the process ends."""
    answers: dict[tuple[bytes, ...], bytes] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while lines := await request_lines(reader):
            end = asyncio.get_running_loop().time() + seconds
            request = lines[0], *(line for line in lines if line.lower().startswith(b"range:"))
            if request not in answers:
                answers[request] = await answer_of_moto(port, lines)
            await asyncio.sleep(max(0.0, end - asyncio.get_running_loop().time()))
            writer.write(answers[request])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
