__version__ = "0.1.0"

# the names that people type → the module that each is in
_HOME = dict(
    load='data.sources', load_all='data.sources', Images='data.images', inject='data.noise', UserError='errors',
    DATASETS='data.datasets', NOISE='data.noise', MODELS='models.robust_net', METHODS='methods.base', VIEWS='viz.views',
    Spec='training.spec', advise='training.defaults', Trainer='training.trainer', predict='training.prediction',
    Method='methods.base', Tracker='metrics.tracker', Session='session.session', TrackedRun='session.tracked',
    View='viz.views', find_label_issues='label_issues.find', cross_predict='label_issues.find',
    Lab='lab.lab', Review='lab.review')


def __getattr__(name):
    "A name is imported when it is first asked for: `import noisylab` alone loads not even torch."
    from difflib import get_close_matches
    from importlib import import_module
    if name in _HOME: return getattr(import_module(f'{__name__}.{_HOME[name]}'), name)
    if name.startswith('__'): raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    near = get_close_matches(name, _HOME, 1)
    raise AttributeError(f'noisylab has no {name!r}' + (f'; did you mean {near[0]!r}?' if near else
                                                        f"; it offers {', '.join(_HOME)}, and its packages"))


def __dir__(): return sorted({k for k in globals() if k.startswith('__') or not k.startswith('_')} | {*_HOME})
