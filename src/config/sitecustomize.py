"""Puts the tree that is judged on python's path, behind python's own library.

What the product has had since before it was worked on is the product's. Of every other name python's
own library comes first, then what is installed, then the rest of the tree. So no new file of the
tree is taken for a part of python, or for something installed, by whoever is no file of the tree. A
script finds what lies beside it, as ever.
"""

import sys


def start(roots, own):
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    this = sys.modules.pop("sitecustomize", None)
    site = sys.modules.get("site")
    tree = tuple(root + os.sep for root in roots)
    whole = list(sys.path)
    # An environment's own files may have put the tree there already.
    sys.path[:] = [path for path in whole if not (os.path.abspath(path) + os.sep).startswith(tree)]
    try:
        # The system's own and the user's are run as without this one.
        for name in ["sitecustomize", "usercustomize"]:
            try:
                if name == "sitecustomize" or getattr(site, "ENABLE_USER_SITE", None):
                    __import__(name)
            except ImportError:
                pass
    finally:
        # The product has none.
        sys.modules.setdefault("sitecustomize", this)
        sys.modules.setdefault("usercustomize", None)
        sys.path[:] = whole + [root for root in roots if root not in whole]
        by_path = [one for one in sys.meta_path if getattr(one, "__name__", "") == "PathFinder"]
        if by_path:
            place = sys.meta_path.index(by_path[0])
            sys.meta_path.insert(place, finder(os, by_path[0], roots, own))


def finder(os, by_path, roots, own):
    library = os.path.dirname(os.path.abspath(os.__file__))
    is_script = getattr(sys, "argv", [""])[:1] not in [[""], ["-"], ["-c"], ["-m"]]

    def lies(path):
        try:
            return os.path.abspath(path or os.getcwd())
        except OSError:
            return path

    def is_library(path):
        below = path == library or path.startswith(library + os.sep) or path.endswith(".zip")
        return below and not path.rstrip(os.sep).endswith("-packages")

    # Where whatever is no script was started: python looks there first.
    started = None if is_script else lies("")

    class Finder(object):
        @staticmethod
        def find_spec(name, path=None, target=None):
            if path is not None or (is_script and sys.path and lies(sys.path[0]) in roots):
                return None
            if name in own:
                first = [at for at, path in enumerate(sys.path) if is_library(lies(path))]
                at = first[0] if first else 0
                places = sys.path[:at] + roots + sys.path[at:]
            else:
                aside = [started] + roots
                places = [path for path in sys.path if path and lies(path) not in aside]
            spec = by_path.find_spec(name, places, target)
            # A package of no file is made of what every place has of it.
            return None if spec is None or spec.loader is None else spec

    return Finder


