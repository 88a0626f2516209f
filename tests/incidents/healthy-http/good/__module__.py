"""The bank's server, as slow as it is: it takes its time for every day that it is asked for."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port = []


class Rates(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.08 * int(self.path.rpartition("/")[2]))
        body = b"11.2"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(**_):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rates)
    port[:] = [server.server_address[1]]
    threading.Thread(target=server.serve_forever, daemon=True).start()
