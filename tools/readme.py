"""README.md from nbs/index.ipynb: `python tools/readme.py [--check]`."""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = '<!-- Made from nbs/index.ipynb by `make prepare`: edit that, not this file. -->\n\n'

def directives(src):
    "The `#|` lines at the top of a cell as a dictionary, and the code below them."
    found = {}
    while m := re.match(r'#\s*\|\s*([\w-]+):?[ \t]*(.*)(\n|$)', src):
        found[m[1]] = m[2].strip() or 'true'
        src = src[m.end():]
    return found, src.strip()

def shown(output):
    "An output as Markdown: text/markdown as it is, everything else as its text."
    data = output.get('data', {})
    if 'text/markdown' in data: return ''.join(data['text/markdown'])
    text = ''.join(output.get('text', data.get('text/plain', ''))).rstrip()
    return f'```text\n{text}\n```' if text else ''

def code(cell):
    "A code cell and its outputs, as far as its directives let them be seen."
    d, src = directives(''.join(cell['source']))
    if d.keys() & {'hide', 'default_exp', 'export', 'exporti', 'exports'} or d.get('include') == 'false': return []
    parts = [f'```python\n{src}\n```'] if src and d.get('echo') != 'false' and 'hide_input' not in d else []
    if d.get('output') == 'false' or 'hide_output' in d: return parts
    return parts + [o for o in map(shown, cell['outputs']) if o]

def local_links(text):
    "Links to files beside the notebook, as seen from the repository's root."
    start = r'(\]\(|src="|href=")'
    return re.sub(start + r'\.\./', r'\1', re.sub(start + r'(?!\w+:|/|#|\.\./)', r'\1nbs/', text))

def readme():
    cells = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))['cells']
    parts = []
    for c in cells:
        if c['cell_type'] == 'markdown': parts.append(local_links(''.join(c['source']).strip()))
        if c['cell_type'] == 'code': parts += code(c)
    return HEAD + '\n\n'.join(parts) + '\n'

if __name__ == '__main__':
    path, text = ROOT/'README.md', readme()
    if '--check' not in sys.argv: path.write_text(text, encoding='utf-8')
    elif not path.exists() or path.read_text(encoding='utf-8') != text:
        sys.exit('README.md is not what nbs/index.ipynb says: run `make prepare`')
