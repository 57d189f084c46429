"""What a module defines, as Markdown: signatures, docstrings and the comments behind parameters. Read, not imported."""
import ast, inspect, io, re, textwrap, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUNCTION, CLASS = ast.FunctionDef, ast.ClassDef

def names_of(node):
    "Public names that a statement defines."
    targets = getattr(node, 'targets', [getattr(node, 'target', None)])
    named = [n for t in targets if isinstance(t, (ast.Name, ast.Tuple)) for n in ast.walk(t)]
    found = [node.name] if isinstance(node, (FUNCTION, CLASS)) else [n.id for n in named if isinstance(n, ast.Name)]
    return [o for o in found if not o.startswith('_')]

def methods(node): return [m for m in getattr(node, 'body', []) if isinstance(m, FUNCTION) and names_of(m)]

def comments(text):
    "Number of a line of code → the comment at its end."
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string.lstrip('# ') for t in tokens
            if t.type == tokenize.COMMENT and t.line[:t.start[1]].strip()}

def code(node): return f'`{ast.unparse(node)}`' if node else ''

def fields(node, said):
    "(name, type, default, comment) of each field of a class."
    return [(f.target.id, code(f.annotation), code(f.value), said.get(f.end_lineno, ''))
            for f in node.body if isinstance(f, ast.AnnAssign) and names_of(f)]

def parameters(node, said):
    "(name, type, default, comment) of each parameter and of what is returned; a comment is of the last on its line."
    a, said = node.args, dict(said)
    plain = [*a.posonlyargs, *a.args]
    defaults = dict(zip(plain[::-1], a.defaults[::-1])) | dict(zip(a.kwonlyargs, a.kw_defaults))
    shown = [('', o) for o in plain] + [('*', o) for o in [a.vararg] if o] + [('', o) for o in a.kwonlyargs] + \
            [('**', o) for o in [a.kwarg] if o]
    rows = []
    for stars, o in shown[::-1]:
        if o.arg in ('self', 'cls') and o is plain[0]: continue
        line = (defaults.get(o) or o).end_lineno
        rows.insert(0, (stars + o.arg, code(o.annotation), code(defaults.get(o)), said.pop(line, '')))
    if node.returns: rows.append(('returns', code(node.returns), '', said.get(node.returns.end_lineno, '')))
    return rows

def signature(name, node):
    "How it is called: names and defaults."
    if isinstance(node, CLASS): takes = ', '.join(n + (f'={d[1:-1]}' if d else '') for n, _, d, _ in fields(node, {}))
    else:
        for o in ast.walk(node.args):
            if isinstance(o, ast.arg): o.annotation = None
        takes = re.sub(r'^(self|cls)(, |$)', '', ast.unparse(node.args))
    return '\n'.join(textwrap.wrap(f'{name}({takes})', 110, subsequent_indent='    ', break_long_words=False))

def escaped(text):
    "A comment within a table: only what stands in backticks is Markdown."
    return re.sub(r'`[^`]*`|[|<*_$\[]', lambda m: m[0] if m[0][0] == '`' else f'&#{ord(m[0])};', text)

def table(rows):
    "Parameters as a table; columns that hold nothing are left out."
    rows = [(f'*{n}*' if n == 'returns' else f'`{n}`', t, d, escaped(c)) for n, t, d, c in rows]
    kept = [i for i in range(4) if i == 0 or any(r[i] for r in rows)]
    lines = [['parameter', 'type', 'default', 'meaning'], ['---']*4, *rows]
    return '\n'.join('| ' + ' | '.join(line[i] for i in kept) + ' |' for line in lines)

class Module:
    "A module of the package, by its path in the repository."
    def __init__(self, path, link):
        self.text = (ROOT/path).read_text(encoding='utf-8')
        self.said, self.link = comments(self.text), link
        self.nodes = {n: o for o in ast.parse(self.text).body for n in names_of(o)}

    def names(self):
        "Of all that gets a heading."
        for n, o in self.nodes.items():
            yield n
            yield from (f'{n}.{m.name}' for m in methods(o))

    def markdown(self, name, node=None, level=3):
        "A heading, the signature, the docstring with a link to the source, parameters; of a class also its methods."
        node = node or self.nodes[name]
        head, source = f'{"#"*level} `{name}` {{ #{name} }}', f'[source]({self.link}#L{node.lineno})'
        if not isinstance(node, (FUNCTION, CLASS)):
            return f'{head}\n\n~~~python\n{ast.get_source_segment(self.text, node)}\n~~~\n\n{source}'
        made = next((m for m in node.body if getattr(m, 'name', '') == '__init__'), node)
        rows = fields(node, self.said) if made is node and isinstance(node, CLASS) else parameters(made, self.said)
        attribute = any(code(d) in ('`property`', '`cached_property`') for d in node.decorator_list)
        parts = [head] if attribute else [head, f'~~~python\n{signature(name, made)}\n~~~']
        parts += [f'{inspect.cleandoc(ast.get_docstring(node) or "")} {source}'.strip()]
        if rows: parts.append(table(rows))
        return '\n\n'.join(parts + [self.markdown(f'{name}.{m.name}', m, level + 1) for m in methods(node)])
