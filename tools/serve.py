"""Shows the built book on this machine, and to no other: `python -m tools.serve 8000`."""

from __future__ import annotations

import functools
import http.server
import sys

from tools import ROOT


def main() -> None:
    try:
        port = int(sys.argv[1])
        handler = functools.partial(
            http.server.SimpleHTTPRequestHandler, directory=str(ROOT / "_build" / "html")
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (IndexError, ValueError):
        sys.exit("name a port by its number: make serve PORT=8001")
    except (OSError, OverflowError) as error:
        sys.exit(
            f"The book is not shown, port {port} cannot be had ({error}): make serve PORT=8001"
        )
    print(f"The book is at http://localhost:{port}/ until you press Ctrl-C.", flush=True)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
