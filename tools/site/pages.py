"""The pages of the site, a hook of mkdocs: README, tutorials, a page for each module, the rows of results/, CHANGELOG.

A module's page is its notebook; what it exports is shown as its reference (reference.py). All is read from files:
nothing is run, and nothing of the package is imported.
"""
import ast, base64, html, json, posixpath, re, sys
from configparser import ConfigParser
from pathlib import Path
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT/'tools'), str(ROOT/'tools/site')]
from readme import directives
from reference import Module, names_of

ini = ConfigParser(delimiters=['='], interpolation=None)
ini.read(ROOT/'settings.ini', encoding='utf-8')
SETTINGS = ini['DEFAULT']
SOURCE = f"{SETTINGS['git_url']}/blob/{SETTINGS['branch']}/"
FENCED = re.compile(r'^(( *)(```+|~~~+).*?^\2\3) *$', re.M | re.S)
LAST = re.compile('seconds|device|commit|checksum|pixels|versions|spec|key')    # columns: where a row comes from
LONG = {'curve', 'events', 'cost', 'bounds', 'stages'}                          # in the file only

def read(path): return (ROOT/path).read_text(encoding='utf-8')
def cells(path): return [c | dict(source=''.join(c['source'])) for c in json.loads(read(path))['cells']]

def find_pages():
    "Path in the repository → path of its page: tutorials in the README's order, then any others; modules in the map's."
    tutorials = re.findall(r'\(nbs/(tutorials/\w+)\.ipynb\)', read('README.md').split('## Read on')[1])
    tutorials += sorted(f'tutorials/{p.stem}' for p in ROOT.glob('nbs/tutorials/*.ipynb'))
    pages = {'README.md': 'index.md', 'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md',
             'results/README.md': 'results/index.md'} | {f'nbs/{t}.ipynb': f'{t}.md' for t in dict.fromkeys(tutorials)}
    for p in sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob('nbs/**/[0-9][0-9]_*.ipynb')):
        pages[p] = re.sub(r'/\d\d_', '/', p).replace('nbs/', 'reference/').replace('.ipynb', '.md')
    return pages | {f'results/{p.name}': f'results/{p.stem}.md' for p in sorted(ROOT.glob('results/*.jsonl'))}

PAGES = find_pages()
FILES = {page: page.replace('reference/', 'noisylab/').replace('.md', '.py')
         for page in PAGES.values() if page.startswith('reference/')}
MODULES = {page: Module(path, SOURCE + path) for page, path in FILES.items()}
NAMES = {posixpath.basename(k): v for k, v in PAGES.items() if k.endswith('.jsonl')}    # in backticks → where it leads
for page, module in MODULES.items():
    dotted = page[len('reference/'):-len('.md')].replace('/', '.')
    if '.' in dotted: NAMES[dotted] = page
    for n in module.names(): NAMES[n] = NAMES[f'{dotted}.{n}'] = f'{page}#{n}'

def prose(text, path, page):
    "Markdown of the file `path` as that of `page`: links lead to pages, names in backticks too, formulas are MathML."
    def to(target): return posixpath.relpath(target, posixpath.dirname(page) or '.')
    def link(m):
        if re.match(r'\w+:|#|/', m[2]): return m[0]
        target, mark, anchor = m[2].partition('#')
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if target.startswith('nbs/images/'): return m[1] + to(target.removeprefix('nbs/'))
        return m[1] + (to(PAGES[target]) if target in PAGES else SOURCE + target) + mark + anchor
    def name(m):
        target = NAMES.get(m[1].removeprefix('noisylab.'))
        return f'[{m[0]}]({to(target)})' if target else m[0]
    def formula(m):
        maths = convert(m[2].strip(), display='block' if m[1] == '$$' else 'inline')
        maths = maths.replace('_', '&#95;').replace('*', '&#42;')
        return f'\n\n{maths}\n\n' if m[1] == '$$' else f'<span>{maths}</span>'
    def plain(text):
        text = re.sub(r'(\]\(|src="|href=")([^)"\s]+)', link, text)
        parts = re.split(r'(^#+ .*|!?\[[^\]]*\]\([^)]*\)|`[^`\n]+`)', text, flags=re.M)
        for i, o in enumerate(parts):
            if i % 2 == 0: parts[i] = re.sub(r'(?<![\\$\w])(\$\$?)([^$]+?)\1(?![\w$])', formula, o)
            elif o[0] == '`': parts[i] = re.sub(r'`([A-Za-z_][\w.-]*)(\(.*\))?`', name, o)
        return ''.join(parts)
    parts = FENCED.split(text)      # text, block, its indent, its fence, text, …
    return ''.join(plain(o) if i % 4 == 0 else o for i, o in enumerate(parts) if i % 4 < 2)

def outputs(cell, path, pictures):
    "What a cell printed and showed; pictures go into `pictures`, by their paths."
    for o in cell['outputs']:
        data = o.get('data', {})
        text = ''.join(o.get('text', data.get('text/plain', ''))).rstrip()
        if 'image/png' in data:
            file = f'images/{Path(path).stem}-{len(pictures)}.png'
            pictures[file] = base64.b64decode(''.join(data['image/png']))
            yield f'![]({posixpath.relpath("nbs/" + file, posixpath.dirname(path))})'
        elif 'text/markdown' in data: yield ''.join(data['text/markdown'])
        elif text: yield f'~~~text\n{text}\n~~~'

def notebook_page(path, page, pictures):
    "A notebook as Markdown, with the reference of what it exports in place of the cells that do."
    parts = []
    for cell in cells(path):
        if cell['cell_type'] == 'markdown': parts.append(cell['source']); continue
        found, src = directives(cell['source'])
        if 'export' in found:
            parts += [MODULES[page].markdown(n) for o in ast.parse(src).body for n in names_of(o)]
        elif not found.keys() & {'hide', 'default_exp'}:
            if src and found.get('echo') != 'false': parts.append(f'~~~python\n{src}\n~~~')
            parts += outputs(cell, path, pictures)
    where = f'[notebook]({SOURCE}{path})'
    if page in FILES: where = f'`{FILES[page][:-3].replace("/", ".")}`: [source]({SOURCE}{FILES[page]}), {where}'
    text = '\n\n'.join([parts[0], where, *parts[1:]])
    return prose(text.replace('<details>', '<details markdown="1">'), path, page)

def columns(row, prefix=''):
    "A row without its depths: name of a column → text."
    for k, v in row.items():
        if k in LONG or prefix == 'spec: ' and k in ('data', 'noise', 'rate', 'method', 'epochs', 'seed'): continue
        if isinstance(v, dict): yield from columns(v, f'{prefix}{k}: ')
        else: yield prefix + k, f'{v:.4g}' if isinstance(v, float) else '' if v is None else str(v)

def rows_page(path, page):
    "Measured rows as a table to be sorted; what all of them share is said once, above it."
    rows, file = [dict(columns(json.loads(line))) for line in read(path).splitlines()], posixpath.basename(path)
    names = sorted(dict.fromkeys(k for r in rows for k in r), key=lambda k: bool(LAST.match(k)))
    shared = {k: rows[0].get(k) for k in names if len({r.get(k) for r in rows}) == 1} if len(rows) > 1 else {}
    def line(tag, values): return '<tr>' + ''.join(f'<{tag}>{html.escape(v)}</{tag}>' for v in values) + '</tr>'
    shown = [k for k in names if k not in shared]
    body = '\n'.join(line('td', (r.get(k, '') for k in shown)) for r in rows)
    same = '; '.join(f'<em>{html.escape(k)}</em> {html.escape(v)}' for k, v in shared.items() if v)
    said = re.search(rf'^\| .*`{re.escape(file)}`.*?\| (.*?) \| (.*?) \|$', read('results/README.md'), re.M)
    parts = ['---\nhide: [toc]\n---', f'# {file}', *([said[1], f'Made by {said[2]}.'] if said else []),
             f'{len(rows)} rows. A click on a head sorts. Curves and costs are in the file: [{file}]({file}).',
             f'<details open><summary>The same in all rows</summary>{same}</details>' if same else '',
             f'<div class="rows"><table><thead>{line("th", shown)}</thead><tbody>\n{body}\n</tbody></table></div>']
    return prose('\n\n'.join(parts), page, page)

def opening(path): return cells(path)[0]['source']
def title(path): return re.search('^# (.+)', opening(path), re.M)[1]
def subtitle(path): return re.search('^> (.+)', opening(path), re.M)[1]
def listed(start): return [(title(p), q, subtitle(p)) for p, q in PAGES.items() if q.startswith(start)]

def contents(head, start):
    "A page that lists the pages of a folder, each with what it is."
    return f'# {head}\n\n' + '\n'.join(f'- [{t}]({q.removeprefix(start)}): {said}' for t, q, said in listed(start))

def on_config(config):
    packages = {}
    for page in MODULES: packages.setdefault(page.split('/')[1].removesuffix('.md'), []).append(page)
    modules = [{k: v[0] if len(v) == 1 else [{posixpath.basename(p)[:-len('.md')]: p} for p in v]}
               for k, v in packages.items()]
    config.nav = [{'Home': 'index.md'},
                  {'Tutorials': ['tutorials/index.md', *({t: q} for t, q, _ in listed('tutorials/'))]},
                  {'Reference': ['reference/index.md', *modules]},
                  {'Results': ['results/index.md', *({k: v} for k, v in NAMES.items() if k.endswith('.jsonl'))]},
                  {'Project': ['contributing.md', 'changelog.md', {'Source': SETTINGS['git_url']}]}]
    config.site_url = SETTINGS['doc_host'] + SETTINGS['doc_baseurl'] + '/'
    config.site_description = SETTINGS['description']
    return config

def on_files(files, config):
    made = {f'{o}/index.md': contents(o.title(), f'{o}/') for o in ('tutorials', 'reference')}
    for path, page in PAGES.items():
        if path.endswith('.ipynb'): made[page] = notebook_page(path, page, made)
        else: made[page] = rows_page(path, page) if path.endswith('.jsonl') else prose(read(path), path, page)
    for k, v in made.items(): files.append(File.generated(config, k, content=v))
    for top, pattern in ('nbs', 'images/*'), ('.', 'results/*.json*'):
        for p in (ROOT/top).glob(pattern):
            files.append(File.generated(config, p.relative_to(ROOT/top).as_posix(), abs_src_path=str(p)))
    return files
