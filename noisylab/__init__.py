__version__ = "0.1.0"

_FROM = dict(Images='data', Method='methods', Spec='spec', Tracker='tracker', Trainer='trainer', advise='advice',
             cross_predict='issues', find_suspects='issues', inject='noise', load='data', predict='inference')


def __getattr__(name):
    "Modules, and the names most used, are imported when they are first asked for: `import noisylab` costs nothing."
    from importlib import import_module
    from importlib.util import find_spec
    if name in _FROM: return getattr(import_module(f'{__name__}.{_FROM[name]}'), name)
    if name.startswith('_') or find_spec(f'{__name__}.{name}') is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return import_module(f'{__name__}.{name}')


def __dir__(): return [*globals(), *_FROM]
