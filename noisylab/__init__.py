__version__ = "0.1.0"

# what people type → where it lives
_FROM = dict(
    Images='data.images', load='data.sources', load_all='data.sources', inject='data.noise', UserError='errors',
    Method='methods.base', METHODS='methods.base', Tracker='metrics.tracker', Spec='training.spec',
    Trainer='training.trainer', advise='training.defaults', predict='training.prediction', Session='session.session',
    find_label_issues='label_issues.find', cross_predict='label_issues.find', Lab='lab.lab', Review='lab.review')


def __getattr__(name):
    "The names most used are imported when they are first asked for: `import noisylab` costs nothing."
    from importlib import import_module
    if name not in _FROM: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_FROM[name]}'), name)


def __dir__(): return [*globals(), *_FROM]
