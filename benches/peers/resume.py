#!/usr/bin/env python3
"""TLS connections that each resume the session of the one before, with one request each.

    resume.py PORT HOST SECONDS

Prints how many were answered, and how many of them were not resumed or failed.
"""

import socket
import ssl
import sys
import time

from load import request


def main():
    port, host, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session, answered, failed, end = None, 0, 0, time.time() + seconds
    while time.time() < end:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            with context.wrap_socket(plain, server_hostname=host, session=session) as tls:
                tls.sendall(request(host).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                received = b""
                while piece := tls.recv(16384):
                    received += piece
                if session is not None:
                    answered += received.startswith(b"HTTP/1.1 200 ")
                    failed += not tls.session_reused
                # A TLS 1.3 ticket comes with the answer.
                session = tls.session
    print(f"{answered} answered, {failed} failed")


if __name__ == "__main__":
    main()
