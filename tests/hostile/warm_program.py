"""``attn`` for a shell, by way of a server that has everything imported: ``warm_program.py ADDRESS ARGUMENTS``.

It hands its streams, folder and environment to `tests.hostile.warm_server` and ends as the process there does.
"""

import json
import os
import socket
import sys

address, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    request = {"arguments": arguments, "cwd": os.getcwd(), "env": dict(os.environ), "limits": {}, "before": ""}
    text = json.dumps(request).encode()
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(text)
    for stream in (0, 1, 2):
        os.close(stream)  # so that a pipe between two of them ends when the process does
    with connection.makefile("rb") as lines:
        lines.readline()
        code = json.loads(lines.readline())["returncode"]
os._exit(code if code >= 0 else 128 - code)
