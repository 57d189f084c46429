"""The page of a lab without JupyterLab: its widget over HTTP, for tests that only need the page."""
import base64, json, threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TRAITS = 'fixed', 'state', 'curves', 'images', 'frames', 'picked', 'at'
HTML = Path(__file__).with_suffix('.html').read_text('utf-8')

def _plain(v):
    if isinstance(v, (bytes, memoryview)): return dict(b64=base64.b64encode(bytes(v)).decode())
    if isinstance(v, dict): return {k: _plain(x) for k, x in v.items()}
    return [_plain(x) for x in v] if isinstance(v, (list, tuple)) else v

@contextmanager
def lab_page(lab):
    "Serve the page of `lab`: its address; `…/dark` is dark."
    w = lab.widget
    class Handler(BaseHTTPRequestHandler):
        held = {}       # what was sent last, so that no other object gets its id
        def log_message(self, *args): pass
        def answer(self, text, kind='application/json'):
            self.send_response(200); self.send_header('Content-Type', kind); self.end_headers()
            self.wfile.write(text.encode())
        def do_GET(self):
            if self.path.startswith('/news'):
                values = {k: getattr(w, k) for k in TRAITS}
                marks = [str(id(v)) if not isinstance(v, float) else str(v) for v in values.values()]
                old = self.path.partition('?')[2].split(',')
                news = {k: _plain(v) for (k, v), m, o in zip(values.items(), marks, old + ['']*len(marks)) if m != o}
                Handler.held = values
                return self.answer(json.dumps(dict(marks=','.join(marks), news=news)))
            code = str(w._esm).replace('export default', 'const page =')
            html = HTML.replace('LIGHT', json.dumps(self.path != '/dark'))
            self.answer(html.replace('CSS', w._css).replace('CODE', code), 'text/html')
        def do_POST(self):
            what = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            if self.path == '/send': lab._hear(w, what, [])
            else:
                for k, v in what.items(): setattr(w, k, float(v) if k == 'at' else v)
            self.answer('{}')
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, name='page', daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}/'
    finally: server.shutdown(); server.server_close()
